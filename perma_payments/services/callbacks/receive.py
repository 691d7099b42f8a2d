"""CyberSource responds to a checkout: verify, keep the evidence, apply it (docs/statuses.md).

1. A POST that is not a signed response to us is refused, and leaves nothing but a warning in the log.
2. The full POST is sealed, kept and committed: from here on nothing can be lost.
3. The response is applied, in a transaction of its own. If that fails, it stays unapplied, a task is opened,
   and it is retried later.
"""

import hashlib
import json
import logging
import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from uuid import UUID

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connection, transaction
from django.db.models.functions import Coalesce

from ...billing.tokens import is_token
from ...billing.transactions import Kind
from ...cybersource.callback import Callback, verify
from ...cybersource.known_texts import WITHHELD
from ...logs import Alarm, alarm
from ...models import OutgoingTransaction, Purchase, Response, Ring, SubscriptionAgreement
from ...postgres.built_once import BuiltOnce, all_columns, instance_of, parameter
from ...postgres.problems import describe, why_unavailable
from ...postgres.time_limits import within
from ...postgres.write import insert_unless_there
from .. import key_uses
from ..locks import lock_callback
from .apply import apply_or_record_failure

logger = logging.getLogger(__name__)

# The columns that hold ids, codes and amounts as they came.
PLAIN = (
    "transaction_uuid",
    "transaction_id",
    "decision",
    "reason_code",
    "transaction_type",
    "reference_number",
    "amount",
    "currency",
    "auth_amount",
)

# Seconds for everything that keeping a response asks of the database. CyberSource waits ten for our answer, and
# applying the response (apply.py) takes time as well.
KEEPING = 3.0
# Of these, those for the first attempt on a connection that was there already.
FIRST_ATTEMPT = KEEPING / 2


def receive_callback(body: bytes, pairs: Sequence[tuple[str, str]], *, now: datetime) -> Response:
    """Receive a POST: its raw ``body``, and its fields as (name, value) ``pairs``. Returns the kept response.

    Raises CallbackRefused for a POST that is not a signed response to us.
    """
    callback = verify(pairs, keys=settings.CS_KEYS, profile_id=settings.CS_PROFILE_ID)
    key_uses.note(Ring.CYBERSOURCE, callback.fields["req_access_key"], now=now)
    try:
        with within(KEEPING):
            response = _keep_somehow(callback, body, now)
    except Exception as error:
        # CyberSource may not send it again; with these ids a person finds it in the Business Center.
        decision, reason, uuid, transaction_id = _ids(callback)
        logger.critical(
            "a response could not be kept: %s %s for transaction %s, CyberSource's id %s: %s",
            *(decision, reason, uuid, transaction_id, describe(error)),
            extra=alarm(
                Alarm.NOT_KEPT,
                decision=decision,
                reason_code=reason,
                transaction_uuid=uuid,
                transaction_id=transaction_id,
            ),
        )
        raise
    if response.applied_at is None:
        apply_or_record_failure(response, now=now)
    return response


def _keep_somehow(callback: Callback, body: bytes, now: datetime) -> Response:
    """Keep a callback, with a second attempt if the connection fails: CyberSource may make none.

    A connection that was in use a moment ago is not asked whether it still works (postgres/base.py). If both
    attempts are committed, the second has found the row of the first.
    """
    if connection.connection is not None:
        try:
            with within(FIRST_ATTEMPT):
                return _keep(callback, body, now)
        except Error as error:
            reason = why_unavailable(error)
            if reason is None:
                raise
            logger.warning("a response could not be kept at the first attempt: %s", reason)
    return _keep(callback, body, now)


def _keep(callback: Callback, body: bytes, now: datetime) -> Response:
    """Return the row for this callback: a new one, committed, or the one from when it was received before."""
    fingerprint = fingerprint_of(callback)
    token = callback.payment_token
    with transaction.atomic(durable=True):
        lock_callback(fingerprint)
        response = Response(
            fingerprint=fingerprint,
            outgoing=_outgoing(callback.transaction_uuid),
            **{name: _plain(getattr(callback, name), length) for name, length in _lengths().items()},
            message=callback.message,
            payment_token=token if is_token(token) else "",
            brought_token=bool(token),
            token_is_unusable=bool(token) and not is_token(token),
            is_ambiguous=callback.is_ambiguous,
            signed_at=callback.signed_at or now,
            sealed=settings.SEALED_ARCHIVE.seal(body),
            archive_key_id=settings.SEALED_ARCHIVE.key_id,
            received_at=now,
        )
        if not insert_unless_there(response):
            (values,) = _KEPT.rows(fingerprint=fingerprint)
            response = instance_of(Response, values)
    return response


def fingerprint_of(callback: Callback) -> bytes:
    """The SHA-256 of what identifies a callback (cybersource.md §5.3). The signature does not: each copy differs.

    Some ERRORs have no transaction id; their reason code tells a failure from a charge that may exist. An
    ambiguous callback never counts as a duplicate of the one that it resembles.
    """
    distinct = [callback.transaction_uuid, callback.transaction_id, callback.decision]
    if not callback.transaction_id:
        distinct.append(callback.reason_code)
    if callback.is_ambiguous:
        distinct.append("ambiguous")
    return hashlib.sha256(json.dumps(distinct).encode()).digest()


_KEPT = BuiltOnce(
    lambda: Response.objects.filter(fingerprint=parameter("fingerprint")).values_list(*all_columns(Response))
)
# With the customer, which is locked before anything else is read.
_CHECKOUT = BuiltOnce(
    lambda: OutgoingTransaction.objects.filter(transaction_uuid=parameter("transaction_uuid")).values_list(
        *all_columns(OutgoingTransaction),
        Coalesce("agreement__customer_type", "purchase__customer_type"),
        Coalesce("agreement__customer_pk", "purchase__customer_pk"),
    )
)


def _outgoing(text: str) -> OutgoingTransaction | None:
    """The checkout with this ``transaction_uuid``. Of its agreement or purchase, only the customer was read."""
    try:
        transaction_uuid = UUID(text)
    except ValueError:
        return None
    row = _CHECKOUT.first(transaction_uuid=transaction_uuid)
    if row is None:
        return None
    *values, customer_type, customer_pk = row
    outgoing = instance_of(OutgoingTransaction, values)
    model, pk = (
        (Purchase, outgoing.purchase_id)
        if outgoing.kind == Kind.PURCHASE
        else (SubscriptionAgreement, outgoing.agreement_id)
    )
    columns = ["id", "customer_type", "customer_pk"]
    outgoing.subject = model.from_db(DEFAULT_DB_ALIAS, columns, [pk, customer_type, customer_pk])
    return outgoing


@cache
def _lengths() -> dict[str, int]:
    """How long the texts in PLAIN may be."""
    return {name: Response._meta.get_field(name).max_length or 0 for name in PLAIN}  # type: ignore[union-attr]


def _plain(text: str, length: int) -> str:
    """An id, a code or an amount as it came, or WITHHELD for anything else, which might be about a person."""
    return text if re.fullmatch(r"[0-9A-Za-z_,.+-]*", text) and len(text) <= length else WITHHELD


def _ids(callback: Callback) -> list[str]:
    """What the log may say about a callback: decision, reason code, transaction UUID, CyberSource's id."""
    texts = (callback.decision, callback.reason_code, callback.transaction_uuid, callback.transaction_id)
    return [_plain(text, 50) or "(none)" for text in texts]
