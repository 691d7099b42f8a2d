"""Perma.cc's pages: the subscription settings of a customer."""
from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import Blueprint, abort, make_response, render_template, request

from ..config import Config
from ..traffic import PAGE_MESSAGES, TrafficLog
from .box import PermaBox
from .client import PaymentsClient, StatusReply, Unavailable
from .messages import first_payment, subscribe_message
from .store import CUSTOMERS, DEFAULT_CUSTOMER, Customer, find_customer, plans_for

CUSTOMER_COOKIE = 'sandbox_customer'

STATUS_WORDS = {
    'Current': 'Active.',
    'Hold': 'On hold: the last payment failed, there is a problem with the card.',
    'Canceled': 'Canceled. It can be used to the end of the time that is paid for.',
    'Cancellation Requested': 'Active. A cancellation has been requested.',
}


def create_blueprint(config: Config, traffic: TrafficLog,
                     clock: Callable[[], datetime]) -> Blueprint:
    """Perma.cc's half of the sandbox. `clock` gives the time in UTC."""
    pages = Blueprint('perma', __name__)
    box = PermaBox(secret_key=config.perma_secret_key, public_key=config.payments_public_key)
    client = PaymentsClient(
        payments_url=config.payments_url, box=box, traffic=traffic, clock=clock)

    def chosen_customer() -> Customer:
        """The customer of the query string, else the one chosen last, else the first."""
        if 'customer' in request.args:
            customer = find_customer(request.args['customer'])
            if customer is None:
                abort(404, 'There is no such customer. Customers are named like Registrar-7 or '
                           'Individual-7.')
            return customer
        return find_customer(request.cookies.get(CUSTOMER_COOKIE, '')) or DEFAULT_CUSTOMER

    def subscribe_forms(customer: Customer) -> list[dict[str, Any]]:
        """A form per plan, each with a message of its own, sealed now."""
        now = clock()
        forms, messages = [], []
        for plan in plans_for(customer):
            message = subscribe_message(customer, plan, now)
            encrypted_data = box.seal(message)
            messages.append({
                'route': '/subscribe/', 'encrypted_data': encrypted_data, 'message': message})
            forms.append({
                'plan': plan, 'payment': first_payment(plan, now.date()),
                'encrypted_data': encrypted_data})
        traffic.add(
            PAGE_MESSAGES,
            f'Perma.cc sealed {len(messages)} messages into the settings page of '
            f'{customer.customer_type} {customer.pk}',
            customer=customer.key, messages=messages)
        return forms

    @pages.get('/settings/subscription/')
    def subscription_settings() -> Any:
        customer = chosen_customer()
        reply: StatusReply | None = None
        unavailable: Unavailable | None = None
        try:
            reply = client.status_of(customer)
        except Unavailable as error:
            unavailable = error
        opened = reply.opened if reply else unavailable.opened if unavailable else None
        page = make_response(render_template(
            'perma/subscription.html',
            customer=customer,
            customers=CUSTOMERS if customer in CUSTOMERS else [*CUSTOMERS, customer],
            reply=reply,
            unavailable=unavailable,
            opened=None if opened is None else json.dumps(opened, indent=2),
            status_words=STATUS_WORDS,
            forms=subscribe_forms(customer),
            subscribe_url=f'{config.payments_url}/subscribe/',
        ))
        page.set_cookie(CUSTOMER_COOKIE, customer.key, httponly=True, samesite='Lax')
        return page

    return pages
