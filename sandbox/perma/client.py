"""Perma.cc's server-to-server calls to Perma Payments, and how it reads the answers.

An answer is read exactly as the real client reads it (perma.md §1 and §3.1). The client would crash
on some answers that are off; here each of them becomes an Unavailable with the reason, so that a
developer sees what is wrong.
"""
from __future__ import annotations

import http.client
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import requests
import urllib3

from ..traffic import STATUS_CALL, TrafficLog
from .box import BoxError, PermaBox, strict_json
from .messages import customer_message
from .store import Customer

TIMEOUT_SECONDS = 2
FRESH_SECONDS = 120
MAX_REPLY_BYTES = 1_000_000

CLIENT_DATE_TIME = '%Y-%m-%dT%H:%M:%S.%fZ'


class Unavailable(Exception):
    """Perma Payments gave no answer that Perma.cc can use. The text says why.

    `status` is the answer's HTTP status and `opened` what was in its box, as far as they are known.
    """

    def __init__(self, reason: str, *, status: int | None = None,
                 opened: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.opened = opened


@dataclass(frozen=True)
class Subscription:
    """A standing subscription, as read from an answer. Date-times are UTC."""

    status: str
    rate: Decimal
    frequency: str
    link_limit: str
    link_limit_effective: datetime
    paid_through: datetime | None
    reference_number: str


@dataclass(frozen=True)
class StatusReply:
    """What Perma Payments says of a customer; `opened` is the reply as it was in the box."""

    subscription: Subscription | None
    unacknowledged_links: int
    opened: dict[str, Any]


def read_date_time(value: Any) -> datetime:
    """Read a date-time the way the client does. Raises ValueError; a fraction is required."""
    if not isinstance(value, str):
        raise ValueError(f'{value!r} is not a date-time')
    return datetime.strptime(value, CLIENT_DATE_TIME).replace(tzinfo=timezone.utc)


def read_status_reply(opened: dict[str, Any], customer: Customer, now: datetime) -> StatusReply:
    """Read the opened reply to `/subscription/`. Raises ValueError saying what is off."""
    timestamp = opened.get('timestamp')
    if isinstance(timestamp, bool) or not isinstance(timestamp, (int, float)):
        raise ValueError('its timestamp is not a number')
    try:
        age = abs(float(timestamp) - now.timestamp())
    except OverflowError:
        age = float('inf')
    if age > FRESH_SECONDS:
        raise ValueError(f'its timestamp is more than {FRESH_SECONDS} seconds from now')
    if type(opened.get('customer_pk')) is not int or opened['customer_pk'] != customer.pk \
            or opened.get('customer_type') != customer.customer_type:
        raise ValueError('it is about another customer')
    if 'subscription' not in opened:
        raise ValueError('it has no subscription, not even null')
    return StatusReply(
        subscription=_read_subscription(opened['subscription']),
        unacknowledged_links=_read_purchases(opened.get('purchases')),
        opened=opened)


def _read_subscription(value: Any) -> Subscription | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError('its subscription is not an object')

    def text(name: str) -> str:
        if not isinstance(value.get(name), str) or not value[name]:
            raise ValueError(f'its {name} is not a string with something in it')
        return str(value[name])

    def date_time(name: str) -> datetime:
        try:
            return read_date_time(value.get(name))
        except ValueError:
            raise ValueError(
                f'its {name} is not a date-time like 2026-11-21T00:00:00.000000Z') from None

    rate = text('rate')
    if not re.fullmatch(r'[0-9]{1,12}\.[0-9]{2}', rate):
        raise ValueError('its rate is not a decimal with two decimals, such as "120.00"')
    link_limit = text('link_limit')
    if not re.fullmatch(r'[0-9]+|unlimited', link_limit):
        raise ValueError('its link_limit is neither digits nor "unlimited"')
    frequency = text('frequency')
    if len(frequency) > 8:
        raise ValueError('its frequency has more than 8 characters')
    if 'paid_through' not in value:
        raise ValueError('it has no paid_through, not even null')
    return Subscription(
        status=text('status'),
        rate=Decimal(rate),
        frequency=frequency,
        link_limit=link_limit,
        link_limit_effective=date_time('link_limit_effective_timestamp'),
        paid_through=None if value['paid_through'] is None else date_time('paid_through'),
        reference_number=text('reference_number'))


def _read_purchases(value: Any) -> int:
    if not isinstance(value, list):
        raise ValueError('its purchases are not a list')
    links = 0
    for purchase in value:
        if not isinstance(purchase, dict) or type(purchase.get('id')) is not int \
                or type(purchase.get('link_quantity')) is not int \
                or not 0 <= purchase['link_quantity'] < 10 ** 9:
            raise ValueError('one of its purchases lacks an integer id or link_quantity')
        links += purchase['link_quantity']
    return links


class PaymentsClient:
    """Makes the calls. Holds no state; one may serve several threads. `clock` tells UTC."""

    def __init__(self, *, payments_url: str, box: PermaBox, traffic: TrafficLog,
                 clock: Callable[[], datetime]) -> None:
        self._url = payments_url
        self._box = box
        self._clock = clock
        self._traffic = traffic

    def status_of(self, customer: Customer) -> StatusReply:
        """Ask for a customer's status, now. Raises Unavailable. Notes the call in the traffic."""
        url = f'{self._url}/subscription/'
        message = customer_message(customer, self._clock())
        problem, status, opened = None, None, None
        try:
            status, opened = self._post(url, message)
            try:
                return read_status_reply(opened, customer, self._clock())
            except ValueError as error:
                raise Unavailable(
                    f'its reply cannot be read: {error}', status=status, opened=opened) from None
        except Unavailable as error:
            problem, status, opened = str(error), error.status, error.opened
            raise
        finally:
            self._traffic.add(
                STATUS_CALL,
                f'Perma.cc asked for the status of {customer.customer_type} {customer.pk}: '
                + (problem or 'answered'),
                url=url, sent=message, status=status, reply=opened, problem=problem)

    def _post(self, url: str, message: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        sealed = self._box.seal(message)
        try:
            with requests.Session() as session:
                # Proxies named by the environment are not for a service on the same machine.
                session.trust_env = False
                response = session.post(
                    url, data={'encrypted_data': sealed}, timeout=TIMEOUT_SECONDS,
                    allow_redirects=False, stream=True)
                status = response.status_code
                body = bytearray()
                for chunk in response.iter_content(65536):
                    body += chunk
                    if len(body) > MAX_REPLY_BYTES:
                        raise Unavailable('its answer is too long', status=status)
        except requests.Timeout:
            raise Unavailable(f'no answer within {TIMEOUT_SECONDS} seconds') from None
        except (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError) as error:
            raise Unavailable(f'it could not be reached ({type(error).__name__})') from None
        if status >= 400:
            raise Unavailable(f'it answered {status}', status=status)
        if status != 200:
            raise Unavailable(
                f'it answered {status}; the client would follow a redirect with a GET, or not '
                f'know what to do', status=status)
        try:
            answer = strict_json(bytes(body))
        except ValueError:
            raise Unavailable('it answered 200 with something that is not JSON',
                              status=status) from None
        if not isinstance(answer, dict) or not isinstance(answer.get('encrypted_data'), str):
            raise Unavailable('it answered 200 with JSON that has no encrypted_data',
                              status=status)
        try:
            return status, self._box.open(answer['encrypted_data'])
        except BoxError as error:
            raise Unavailable(f'its reply cannot be opened: {error}', status=status) from None
