"""A stand-in for Perma.cc's client, written from perma.md: it makes valid messages and reads replies.

Uses nothing of the package under test.
"""

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from nacl.public import Box, PrivateKey, PublicKey

PERMA_PAYMENTS_SECRET = base64.b64decode("aZl8CDslsIkIF9IAO6KKk5LyGzSXKZ+Vhs2ck+lXKKA=")
PERMA_PAYMENTS_PUBLIC = base64.b64decode("FhfWRc3QmLzG9SY+QwvTNMT9vcACNzpcMyvNSxKg0jA=")
PERMA_SECRET = base64.b64decode("hneZHHft4QieiNmyVPfyYFJs3toRgixbiTqSQKJ1r2E=")
PERMA_PUBLIC = base64.b64decode("+Y3Kni4Pm+5kWFJgsBL28TyKcgciQdPofRsTwUKaVSE=")

BOX = Box(PrivateKey(PERMA_SECRET), PublicKey(PERMA_PAYMENTS_PUBLIC))

CUSTOMER = {"customer_pk": 7, "customer_type": "Registrar"}


def fields(route: str, *, now: datetime | None = None, **changes: Any) -> dict[str, Any]:
    """The valid fields of a route's message, made ``now``. ``changes`` replace fields, and ``...`` removes one."""
    now = now or datetime.now(UTC)
    plan = {
        "amount": "12.50",
        "recurring_amount": "45.00",
        "recurring_frequency": "monthly",
        "recurring_start_date": (now + timedelta(days=10)).strftime("%Y-%m-%d"),
        "link_limit": "100",
        "link_limit_effective_timestamp": now.timestamp(),
    }
    valid: dict[str, dict[str, Any]] = {
        "subscribe": {**CUSTOMER, **plan},
        "change": {**CUSTOMER, **plan},
        "update": {**CUSTOMER},
        "billing": {"customer_pk": 7, "customer_type": "Individual"},
        "cancel-request": {**CUSTOMER},
        "subscription": {**CUSTOMER},
        "purchase": {**CUSTOMER, "amount": "15.00", "link_quantity": 10},
        "purchase-history": {**CUSTOMER},
        "acknowledge-purchase": {"purchase_pk": 1},
    }
    message = {"timestamp": now.timestamp(), **valid[route], **changes}
    return {name: value for name, value in message.items() if value is not ...}


def seal(contents: Any, *, box: Box = BOX, nonce: bytes | None = None) -> str:
    """Seal JSON, or bytes as they are, as Perma.cc does."""
    plaintext = contents if isinstance(contents, bytes) else json.dumps(contents).encode()
    return base64.b64encode(box.encrypt(plaintext, nonce)).decode()


def form(route: str, **changes: Any) -> dict[str, str]:
    """The form fields of a valid POST to a route."""
    return {"encrypted_data": seal(fields(route, **changes))}


def open_reply(reply: dict[str, Any], *, box: Box = BOX) -> dict[str, Any]:
    """Open a reply as the client does."""
    assert reply.keys() == {"encrypted_data"}
    opened = json.loads(box.decrypt(base64.b64decode(reply["encrypted_data"])))
    assert isinstance(opened, dict)
    return opened


def read_datetime(text: str) -> datetime:
    """Read a date-time as the client does."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def check_reply(reply: dict[str, Any]) -> None:
    """Read a reply as both versions of the client do (perma.md §3.1). Raises something if one of them cannot."""
    subscription = reply.get("subscription")
    if subscription is not None:
        assert subscription["status"] in {"Current", "Hold", "Canceled", "Cancellation Requested"}
        assert subscription["rate"] == f"{Decimal(subscription['rate']):.2f}"
        assert len(subscription["frequency"]) <= 8
        assert subscription["link_limit"] == "unlimited" or int(subscription["link_limit"]) >= 0
        assert re.fullmatch(r"PERMA-\d{4}-\d{4}", subscription["reference_number"])
        read_datetime(subscription["link_limit_effective_timestamp"])
        paid_through = read_datetime(subscription["paid_through"])
        assert subscription["status"] in ("Hold", "Canceled") or paid_through > datetime.now(UTC)
        if subscription["pending_change"] is not None:
            Decimal(subscription["pending_change"]["rate"])
            read_datetime(subscription["pending_change"]["effective"])
    for purchase in reply.get("purchases", []) + reply.get("purchase_history", []):
        assert isinstance(purchase["id"], int) and isinstance(purchase["link_quantity"], int)
    for purchase in reply.get("purchase_history", []):
        read_datetime(purchase["date"])
    assert "purchase_history" in reply or {"subscription", "purchases"} <= reply.keys()
