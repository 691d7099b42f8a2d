"""Perma.cc's pages: the subscription settings of a customer."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import Blueprint, abort, make_response, redirect, render_template, request, url_for

from ..config import Config
from ..traffic import PAGE_MESSAGES, TrafficLog
from .bonus import BonusLinks, Crediting, credit
from .box import PermaBox
from .client import PaymentsClient, Unavailable
from .clients import PermaClient
from .known_plans import KnownPlans
from .page_forms import PageForms, seal_forms
from .replies import HistoricPurchase, Purchase, StatusReply, Subscription
from .store import CUSTOMERS, DEFAULT_CUSTOMER, INDIVIDUAL, REGISTRAR, Customer, Plan, find_customer

CUSTOMER_COOKIE = "sandbox_customer"

STATUS_WORDS = {
    "Current": "Active.",
    "Hold": "On hold: the last payment failed. Update your card to continue.",
    "Canceled": "Canceled. You can use it until the end of the period you have paid for.",
    "Cancellation Requested": "Active. A cancellation has been requested.",
}


def create_blueprint(config: Config, traffic: TrafficLog, clock: Callable[[], datetime]) -> Blueprint:
    """Perma.cc's half of the sandbox. `clock` gives the time in UTC."""
    pages = Blueprint("perma", __name__)
    box = PermaBox(secret_key=config.perma_secret_key, public_key=config.payments_public_key)
    perma_client = config.perma_client
    client = PaymentsClient(
        payments_url=config.payments_url, perma_client=perma_client, box=box, traffic=traffic, clock=clock
    )
    known_plans = KnownPlans()
    bonus_links = BonusLinks()

    def named_customer(key: str) -> Customer:
        customer = find_customer(key)
        if customer is None:
            abort(404, "There is no such customer. Customers have names like Registrar-7 or Individual-7.")
        return customer

    def chosen_customer() -> Customer:
        """The customer in the query string, else the one chosen last, else the first."""
        if "customer" in request.args:
            return named_customer(request.args["customer"])
        return find_customer(request.cookies.get(CUSTOMER_COOKIE, "")) or DEFAULT_CUSTOMER

    def forms_for(customer: Customer, subscription: Subscription | None, in_force: Plan | None) -> PageForms:
        """Seal the forms of a page that is rendered now."""
        forms = seal_forms(perma_client, customer, subscription, in_force, box, clock())
        messages = [
            {"route": form.route, "encrypted_data": form.encrypted_data, "message": form.message} for form in forms
        ]
        traffic.add(
            PAGE_MESSAGES,
            f"Perma.cc sealed {len(messages)} messages into the settings page of "
            f"{customer.customer_type} {customer.pk}",
            customer=customer.key,
            messages=messages,
        )
        return forms

    @pages.get("/settings/subscription/")
    def old_address() -> Any:
        """The page's older address, which redirects without the query, as in the client."""
        return redirect(url_for(".subscription_settings"))

    @pages.get("/settings/usage-plan/")
    def subscription_settings() -> Any:
        customer = chosen_customer()
        reply: StatusReply | None = None
        unavailable: Unavailable | None = None
        creditings: list[Crediting] = []
        history: list[HistoricPurchase] = []
        history_unavailable: Unavailable | None = None
        try:
            reply = client.status_of(customer)
        except Unavailable as error:
            unavailable = error
        subscription, in_force = None, None
        if reply is not None:
            subscription = reply.subscription
            in_force = known_plans.learn(customer, subscription)
            creditings = [credit(customer, purchase, bonus_links, client) for purchase in reply.purchases]
        if reply is not None and not perma_client.uses_portal:
            try:
                history = client.history_of(customer)
            except Unavailable as error:
                history_unavailable = error
        opened = reply.opened if reply else unavailable.opened if unavailable else None
        page = make_response(
            render_template(
                "perma/subscription.html",
                customer=customer,
                customers=CUSTOMERS if customer in CUSTOMERS else [*CUSTOMERS, customer],
                reply=reply,
                unavailable=unavailable,
                subscription=subscription,
                in_force=in_force,
                offers=_offers(perma_client, subscription, in_force),
                opened=None if opened is None else json.dumps(opened, indent=2),
                status_words=STATUS_WORDS,
                returned=next(
                    (
                        (f"{name}={value}", perma_client.return_words[name, value])
                        for name, value in request.args.items()
                        if (name, value) in perma_client.return_words
                    ),
                    None,
                ),
                bonus_links=bonus_links.of(customer),
                creditings=creditings,
                history=history,
                history_unavailable=history_unavailable,
                forms=forms_for(customer, subscription, in_force),
                payments_url=config.payments_url,
            )
        )
        page.set_cookie(CUSTOMER_COOKIE, customer.key, httponly=True, samesite="Lax")
        return page

    @pages.get("/admin/perma/registrar/<int:pk>/change/", defaults={"customer_type": REGISTRAR})
    @pages.get("/admin/perma/linkuser/<int:pk>/change/", defaults={"customer_type": INDIVIDUAL})
    def customer_for_staff(customer_type: str, pk: int) -> Any:
        """Where links in mails to staff lead: Perma.cc's admin. Here the settings page takes its place."""
        customer = named_customer(f"{customer_type}-{pk}")
        return redirect(url_for(".subscription_settings", customer=customer.key))

    @pages.post("/settings/subscription/acknowledge")
    def acknowledge_again() -> Any:
        """Acknowledge a purchase in the history again, as another server of Perma.cc might."""
        customer = named_customer(request.form.get("customer", ""))
        purchase = Purchase(_number("purchase_pk"), _number("link_quantity"))
        crediting = credit(customer, purchase, bonus_links, client)
        return render_template(
            "perma/acknowledged.html", customer=customer, crediting=crediting, bonus_links=bonus_links.of(customer)
        )

    return pages


def _offers(perma_client: PermaClient, subscription: Subscription | None, in_force: Plan | None) -> set[str]:
    """What Perma.cc offers a customer to do with a subscription: change, take-back, and manage."""
    if subscription is None:
        return set()
    offers = set()
    if perma_client.uses_portal or subscription.status in ("Current", "Hold"):
        offers.add("manage")
    if subscription.status == "Current" and in_force is not None:
        offers.add("take-back" if subscription.pending else "change")
    return offers


def _number(name: str) -> int:
    """A whole number in the posted form. Aborts with 400 if it is not one."""
    value = request.form.get(name, "")
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        abort(400, f"{name} must be a whole number.")
    return int(value)
