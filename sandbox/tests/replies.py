"""What Perma Payments answers to Perma.cc's servers, and the page that comes of it."""

import base64
import json

from bs4 import BeautifulSoup
from nacl.public import PrivateKey, PublicKey
from werkzeug.wrappers import Response

from sandbox.perma.box import PermaBox

from .builders import NOW

# Perma Payments' development key, and the public half of Perma.cc's (perma.md §6).
SECRET_KEY = "aZl8CDslsIkIF9IAO6KKk5LyGzSXKZ+Vhs2ck+lXKKA="
PERMA_PUBLIC_KEY = "+Y3Kni4Pm+5kWFJgsBL28TyKcgciQdPofRsTwUKaVSE="

SUBSCRIPTION = {
    "status": "Current",
    "rate": "45.00",
    "frequency": "monthly",
    "link_limit": "100",
    "link_limit_effective_timestamp": "2026-03-10T09:30:00.000000Z",
    "paid_through": "2026-04-10T00:00:00.000000Z",
    "pending_change": None,
    "reference_number": "PERMA-1234-5678",
}

# What both clients can read while a downgrade is scheduled.
DOWNGRADING = {
    **SUBSCRIPTION,
    "rate": "20.00",
    "link_limit": "10",
    "link_limit_effective_timestamp": "2026-04-10T00:00:00.000000Z",
    "pending_change": {"rate": "20.00", "link_limit": "10", "effective": "2026-04-10T00:00:00.000000Z"},
}


def payments_box():
    """The box at Perma Payments' end."""
    return PermaBox(
        secret_key=PrivateKey(base64.b64decode(SECRET_KEY)),
        public_key=PublicKey(base64.b64decode(PERMA_PUBLIC_KEY)),
    )


def reply(**changes):
    """What is inside a valid reply about registrar 1; an ellipsis takes a field away."""
    fields = {
        "timestamp": NOW.timestamp(),
        "customer_pk": 1,
        "customer_type": "Registrar",
        "subscription": None,
        "purchases": [],
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not ...}


def sealed(opened):
    """The answer with a reply in its box."""
    return Response(json.dumps({"encrypted_data": payments_box().seal(opened)}), mimetype="application/json")


def show(client, path="/settings/usage-plan/?customer=Registrar-1"):
    """The settings page."""
    page = client.get(path)
    assert page.status_code == 200
    return BeautifulSoup(page.text, "html.parser")


HISTORY = [
    {"id": 5, "link_quantity": 10, "date": "2026-03-09T08:00:00.000000Z", "reference_number": "PERMA-0000-0005"}
]


def history_reply(purchase_history=(), **changes):
    """What is inside a valid reply with a purchase history."""
    fields = reply(purchase_history=list(purchase_history), **changes)
    del fields["subscription"], fields["purchases"]
    return fields


def answers(*, status=None, history=None, acknowledge=None):
    """What a merchant answers to each of the server-to-server calls."""
    by_path = {
        "/subscription/": status or sealed(reply()),
        "/purchase-history/": history or sealed(history_reply()),
        "/acknowledge-purchase/": acknowledge or Response('{"status": "ok"}'),
    }
    return lambda request: by_path[request.path]
