"""The two clients of Perma.cc, as readers: each as strict as perma.md §3.1 and perma-2026.md §4 say.

Uses nothing of the package under test.
"""

import re
from datetime import datetime
from typing import Any

from ..perma_cc import read_datetime
from .model import Customer

_STATUSES = ("Current", "Hold", "Canceled", "Cancellation Requested")
_SUBSCRIPTION = {
    "status",
    "rate",
    "frequency",
    "link_limit",
    "link_limit_effective_timestamp",
    "paid_through",
    "pending_change",
    "reference_number",
}


def read_status(
    reply: dict[str, Any], customer: Customer, now: datetime
) -> tuple[dict[str, Any] | None, list[tuple[int, int]]]:
    """The subscription, with its date-times read, and the purchases that are offered (id, links)."""
    assert reply.keys() == {"timestamp", "customer_pk", "customer_type", "subscription", "purchases"}
    _answers(reply, customer, now)
    assert type(reply["purchases"]) is list
    purchases = []
    for purchase in reply["purchases"]:
        assert purchase.keys() == {"id", "link_quantity"}
        assert all(type(value) is int for value in purchase.values())
        purchases.append((purchase["id"], purchase["link_quantity"]))
    subscription = reply["subscription"]
    return None if subscription is None else _subscription(subscription, now), purchases


def read_history(reply: dict[str, Any], customer: Customer, now: datetime) -> list[tuple[int, int, str]]:
    """The paid purchases: id, links, reference number."""
    assert reply.keys() == {"timestamp", "customer_pk", "customer_type", "purchase_history"}
    _answers(reply, customer, now)
    history = []
    for purchase in reply["purchase_history"]:
        assert purchase.keys() == {"id", "link_quantity", "date", "reference_number"}
        assert type(purchase["id"]) is int and type(purchase["link_quantity"]) is int
        assert re.fullmatch(r"PERMA-\d{4}-\d{4}", purchase["reference_number"])
        assert read_datetime(purchase["date"]) <= now
        history.append((purchase["id"], purchase["link_quantity"], purchase["reference_number"]))
    return history


def _answers(reply: dict[str, Any], customer: Customer, now: datetime) -> None:
    assert type(reply["timestamp"]) in (int, float) and abs(reply["timestamp"] - now.timestamp()) <= 120
    assert type(reply["customer_pk"]) is int
    assert (reply["customer_type"], reply["customer_pk"]) == customer


def _subscription(told: dict[str, Any], now: datetime) -> dict[str, Any]:
    assert told.keys() == _SUBSCRIPTION
    assert told["status"] in _STATUSES
    assert told["frequency"] in ("monthly", "annually")
    assert re.fullmatch(r"PERMA-\d{4}-\d{4}", told["reference_number"])
    _plan(told)
    since, paid_through = (
        read_datetime(told[name]) for name in ("link_limit_effective_timestamp", "paid_through")
    )
    pending = told["pending_change"]
    if pending is not None:
        assert pending.keys() == {"rate", "link_limit", "effective"}
        _plan(pending)
        pending = {**pending, "effective": read_datetime(pending["effective"])}
    # The client of 2024 takes a future time, and that of 2026 pending_change, for a plan to come. They must agree.
    to_come_2024 = (told["rate"], told["link_limit"], since) if since > now else None
    to_come_2026 = pending and (pending["rate"], pending["link_limit"], pending["effective"])
    assert to_come_2024 == to_come_2026
    times = {"link_limit_effective_timestamp": since, "paid_through": paid_through, "pending_change": pending}
    return {**told, **times}


def _plan(told: dict[str, Any]) -> None:
    assert type(told["rate"]) is str and re.fullmatch(r"\d+\.\d{2}", told["rate"])
    assert type(told["link_limit"]) is str and re.fullmatch(r"\d+|unlimited", told["link_limit"])
