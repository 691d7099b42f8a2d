"""CyberSource answers a checkout: verify, keep the evidence, apply it (docs/statuses.md).

1. A POST that is not a signed response to us is refused, and leaves no trace but a warning.
2. The full POST is sealed and kept, and committed: from here on nothing can be lost.
3. What it says is applied, in a transaction of its own. If that fails, the response stays unapplied,
   staff are told, and it is tried again later.
"""

import hashlib
import json
import logging
import re
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from ...cybersource.callback import Callback, verify
from ...keyrings import profile, sealed_archive
from ...models import OutgoingTransaction, Response, TaskKind
from ...postgres.problems import describe
from ...postgres.time_limits import within
from ..staff_tasks import tasks as staff_tasks
from .apply import apply_response

logger = logging.getLogger(__name__)

WITHHELD = "(withheld)"

# In seconds, each for everything that it asks of the database: CyberSource waits ten for its answer.
KEEPING, APPLYING, TELLING_STAFF = 3.0, 3.5, 1.0


def receive_callback(body: bytes, pairs: Sequence[tuple[str, str]], *, now: datetime) -> Response:
    """Take in a POST: its ``body`` as it came, and its fields as ``pairs``. Returns the response it is kept as.

    Raises CallbackRefused for a POST that is not a signed response to us.
    """
    callback = verify(pairs, keys=profile().keys, profile_id=profile().profile_id)
    try:
        with within(KEEPING):
            response = _keep(callback, body, now)
    except Exception as error:
        # CyberSource may not send it again; with these ids a person finds it in the Business Center.
        logger.critical("a response could not be kept: %s: %s", _ids(callback), describe(error))
        raise
    if response.applied_at is None:
        apply_or_leave(response, now=now)
    return response


def apply_or_leave(response: Response, *, now: datetime) -> bool:
    """Apply a response; if that fails, leave it unapplied, tell staff, and return False."""
    try:
        with within(APPLYING):
            apply_response(response.pk, now=now)
    except Exception as error:  # whatever it is, the evidence is kept and CyberSource gets its 200
        logger.error("response %s could not be applied: %s", response.pk, describe(error))
        with within(TELLING_STAFF):
            _tell_staff(response, now)
        return False
    return True


def _keep(callback: Callback, body: bytes, now: datetime) -> Response:
    """Return the row of this callback: a new one, committed, or that of the same callback received before."""
    with transaction.atomic(durable=True):
        token = callback.payment_token
        token_is_usable = re.fullmatch(r"[0-9A-Za-z]{1,32}", token, re.ASCII) is not None
        response, created = Response.objects.get_or_create(
            fingerprint=_fingerprint(callback),
            defaults={
                "outgoing": _outgoing(callback.transaction_uuid),
                "transaction_uuid": _plain(callback.transaction_uuid, 50),
                "transaction_id": _plain(callback.transaction_id, 32),
                "decision": _plain(callback.decision, 20),
                "reason_code": _plain(callback.reason_code, 10),
                "message": _shortened(callback.message, 255),
                "transaction_type": _plain(callback.transaction_type, 60),
                "reference_number": _plain(callback.reference_number, 50),
                "amount": _plain(callback.amount, 20),
                "currency": _plain(callback.currency, 10),
                "auth_amount": _plain(callback.auth_amount, 20),
                "payment_token": token if token_is_usable else "",
                "token_is_unusable": bool(token) and not token_is_usable,
                "is_ambiguous": callback.is_ambiguous,
                "signed_at": callback.signed_at or now,
                "sealed": sealed_archive().seal(body),
                "archive_key_id": sealed_archive().key_id,
                "received_at": now,
            },
        )
    if created:
        logger.info("response %s kept: %s", response.pk, _ids(callback))
    return response


def _fingerprint(callback: Callback) -> bytes:
    """What makes a callback distinct (cybersource.md §5.3); each channel signs anew, so not the signature.

    Some ERRORs have no transaction id: there the reason tells a failure from a charge that may exist. An
    ambiguous callback is never taken for the one that it resembles.
    """
    distinct = [callback.transaction_uuid, callback.transaction_id, callback.decision]
    if not callback.transaction_id:
        distinct.append(callback.reason_code)
    if callback.is_ambiguous:
        distinct.append("ambiguous")
    return hashlib.sha256(json.dumps(distinct).encode()).digest()


def _outgoing(text: str) -> OutgoingTransaction | None:
    try:
        transaction_uuid = UUID(text)
    except ValueError:
        return None
    return OutgoingTransaction.objects.filter(transaction_uuid=transaction_uuid).first()


def _plain(text: str, length: int) -> str:
    """An id, a code or an amount as it came. Anything else might be about a person: the sealed POST has it."""
    return text if re.fullmatch(r"[0-9A-Za-z_,.+-]*", text, re.ASCII) and len(text) <= length else WITHHELD


def _shortened(text: str, length: int) -> str:
    """A text that fits its column. PostgreSQL's text cannot hold NUL."""
    text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return text if len(text) <= length else text[: length - 1] + "…"


def _ids(callback: Callback) -> str:
    """What may be logged of a callback."""
    decision, reason, uuid, transaction_id = (
        _plain(text, 50) or "(none)"
        for text in (callback.decision, callback.reason_code, callback.transaction_uuid, callback.transaction_id)
    )
    return f"{decision} {reason} for transaction {uuid}, CyberSource's id {transaction_id}"


def _tell_staff(response: Response, now: datetime) -> None:
    try:
        # Another process may have applied it in the meantime.
        if not Response.objects.filter(pk=response.pk, applied_at__isnull=True).exists():
            return
        subject = None if response.outgoing is None else response.outgoing.subject
        staff_tasks.open_for_response(TaskKind.NOT_APPLIED, response, subject=subject, now=now)
    except Exception as error:  # as above: the response itself is safe, and the log says so
        logger.error("no task for response %s could be opened: %s", response.pk, describe(error))
