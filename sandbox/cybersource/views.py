"""CyberSource's pages: the checkout and its result, and the Business Center's list of subscriptions."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from ..config import Config
from ..traffic import FORM, TrafficLog
from .cards import TEST_CARDS
from .checkouts import Checkout, Checkouts
from .delivery import DeliveryOptions, ResponseSender
from .export import CASES, MAX_EXTRA, BadChoice, Shape, export
from .form import TYPES_BY_PATH, UPDATES, RefusedForm, check_form, read_body
from .outcomes import ACCEPT, CANCEL, CheckoutOutcome, pickable_for
from .page_form import (
    BILLING,
    BILLING_LABELS,
    MAX_DELAY_SECONDS,
    prefilled,
    read_entered,
    read_options,
    read_outcome,
)
from .register import STATUSES, Register
from .response import Entered

TYPE_WORDS = {
    "sale": "A single payment",
    "sale,create_payment_token": "A first payment, and a card to keep for later ones",
    "update_payment_token": "Another card or billing address",
    "sale,update_payment_token": "A payment with a stored card, which may be changed",
}

RETURN_SECONDS = 2


def create_blueprint(config: Config, traffic: TrafficLog, clock: Callable[[], datetime]) -> Blueprint:
    """CyberSource's half of the sandbox. `clock` gives the time in UTC."""
    pages = Blueprint("cybersource", __name__)
    checkouts = Checkouts(clock)
    register = Register()
    sender = ResponseSender(config, traffic, register, clock)

    def checkout_or_404(checkout_id: str) -> Checkout:
        checkout = checkouts.find(checkout_id)
        if checkout is None:
            abort(404, "There is no such checkout. The sandbox forgets everything when it restarts.")
        return checkout

    def show_checkout(checkout: Checkout, values: Mapping[str, str], problems: list[str] | None = None) -> str:
        form = checkout.form
        return render_template(
            "cybersource/checkout.html",
            checkout=checkout,
            form=form,
            values=values,
            problems=problems or [],
            labels=BILLING_LABELS,
            cards=TEST_CARDS.values(),
            type_words=TYPE_WORDS[form.transaction_type],
            max_delay=MAX_DELAY_SECONDS,
            is_update=form.transaction_type in UPDATES,
            others=[outcome for outcome in pickable_for(form.transaction_type) if outcome not in (ACCEPT, CANCEL)],
        )

    def conclude(
        checkout: Checkout, wanted: CheckoutOutcome, entered: Entered | None, options: DeliveryOptions
    ) -> Response:
        result = checkouts.finish(checkout, wanted)
        sender.send(checkout.form, result, entered, options)
        return redirect(url_for(".show_result", checkout_id=checkout.id), 303)

    def receive_form() -> Any:
        """Check a signed form; show the checkout page, or the one generic page with 403."""
        path = request.path
        posted = read_body(request.mimetype, request.get_data(cache=False))
        verdict = posted if isinstance(posted, RefusedForm) else check_form(path, posted, config, clock())
        reason = verdict.reason if isinstance(verdict, RefusedForm) else None
        traffic.add(
            FORM,
            f"CyberSource received a form at {path}: {f'refused 403: {reason}' if reason else 'accepted'}",
            path=path,
            fields=[] if isinstance(posted, RefusedForm) else [list(pair) for pair in posted],
            accepted=reason is None,
            reason=reason,
            notes=[] if isinstance(verdict, RefusedForm) else list(verdict.notes),
        )
        if isinstance(verdict, RefusedForm):
            return render_template("cybersource/refused.html"), 403
        checkout, known_outcome = checkouts.open(verdict)
        if known_outcome is not None:
            return conclude(checkout, known_outcome, None, DeliveryOptions())
        return show_checkout(checkout, prefilled(verdict, clock()))

    for path in TYPES_BY_PATH:
        pages.add_url_rule(
            path, endpoint="receive" + path.replace("/", "_"), view_func=receive_form, methods=["POST"]
        )

    @pages.get("/checkout/<checkout_id>")
    def show(checkout_id: str) -> Any:
        checkout = checkout_or_404(checkout_id)
        if checkout.results:
            return redirect(url_for(".show_result", checkout_id=checkout.id), 303)
        return show_checkout(checkout, prefilled(checkout.form, clock()))

    @pages.post("/checkout/<checkout_id>")
    def finish(checkout_id: str) -> Any:
        checkout = checkout_or_404(checkout_id)
        outcome = read_outcome(request.form, checkout.form.transaction_type)
        options = read_options(request.form)
        if outcome is CANCEL:
            return conclude(checkout, outcome, None, options)
        start = prefilled(checkout.form, clock())
        values = {name: request.form.get(name, value) for name, value in start.items()}
        entered, problems = read_entered(values, clock())
        if entered is None:
            # What was typed into the card fields is not shown again: it may be a real card.
            kept = {name: value for name, value in values.items() if name in BILLING or name == "token"}
            return show_checkout(checkout, {**start, **kept}, problems), 400
        return conclude(checkout, outcome, entered, options)

    @pages.get("/checkout/<checkout_id>/result")
    def show_result(checkout_id: str) -> Any:
        checkout = checkout_or_404(checkout_id)
        if not checkout.results:
            return redirect(url_for(".show", checkout_id=checkout.id), 303)
        result = checkout.results[-1]
        answers = list(result.answers)
        # If an answer is wrong, the page stays, so that a developer sees it; and if the server sends no response,
        # the developer decides whether the browser carries it.
        moves_on = (
            result.outcome in (ACCEPT, CANCEL)
            and result.expected > 0
            and all(answer.is_success for _, answer in answers)
        )
        return render_template(
            "cybersource/result.html",
            checkout=checkout,
            form=checkout.form,
            result=result,
            answers=answers,
            return_url=sender.return_url,
            return_seconds=RETURN_SECONDS if moves_on else None,
        )

    @pages.get("/subscriptions/")
    def show_subscriptions() -> Any:
        return render_template(
            "cybersource/subscriptions.html",
            subscriptions=register.entries()[::-1],
            statuses=STATUSES,
            cases=CASES,
            max_extra=MAX_EXTRA,
        )

    @pages.post("/subscriptions/status")
    def set_status() -> Any:
        by_word = {status.upper(): status for status in STATUSES}
        status = by_word.get(request.form.get("status", ""))
        if status is None:
            abort(400, f"status must be one of {', '.join(by_word)}.")
        if not register.set_status(request.form.get("token", ""), status):
            abort(404, "There is no such subscription. The sandbox forgets everything when it restarts.")
        return redirect(url_for(".show_subscriptions"), 303)

    @pages.get("/subscriptions/export.csv")
    def export_csv() -> Any:
        try:
            shape = Shape.from_query(request.args)
        except BadChoice as error:
            abort(400, str(error))
        return Response(
            export(register.entries(), shape, clock()),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="subscriptions.csv"'},
        )

    return pages
