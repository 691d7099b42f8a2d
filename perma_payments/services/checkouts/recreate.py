"""Recreate a checkout that was lost when the database was restored to an earlier moment (docs/backup.md).

It is recorded as it was begun, under the reference number that CyberSource knows, and not as paid: a payment that
staff record, or a status report, says that. For that, the ways are the same as for any response that never came.
"""

import json
import re
import secrets
from collections.abc import Mapping
from datetime import date, datetime

import pghistory
from django.db import transaction

from ...billing.coverage import midnight
from ...billing.transactions import Kind
from ...models import OutgoingTransaction, ReferenceNumber
from ...models.fields import REFERENCE_NUMBER_PATTERN
from ...models.history import HistorySource
from ...perma.messages import ChangeMessage, Freshness, PurchaseMessage, SubscribeMessage, read
from ..locks import lock_customer
from .begin import record_change, record_purchase, record_subscription
from .modifiable import NothingToModify, modifiable_agreement

# Each kind, with the message that began it: its fields are what is asked for.
MESSAGES: dict[Kind, type[SubscribeMessage | ChangeMessage | PurchaseMessage]] = {
    Kind.SUBSCRIBE: SubscribeMessage,
    Kind.CHANGE: ChangeMessage,
    Kind.PURCHASE: PurchaseMessage,
}


class CannotRecreate(Exception):
    """Nothing was recorded. The text is a sentence that says why."""


def recreate_checkout(
    kind: Kind, reference_number: str, fields: Mapping[str, object], *, begun_on: date, now: datetime
) -> OutgoingTransaction:
    """Record a checkout by the fields of the message that began it (contracts/perma.md §2).

    Raises CannotRecreate, or a Refusal if the fields are not those of such a message.
    """
    if not re.fullmatch(REFERENCE_NUMBER_PATTERN, reference_number, re.ASCII):
        raise CannotRecreate(f"{reference_number} is not one of our reference numbers.")
    begun_at, nonce = midnight(begun_on), secrets.token_bytes(24)
    if begun_at > now:
        raise CannotRecreate(f"{begun_on} is in the future.")
    plaintext = json.dumps({**fields, "timestamp": begun_at.timestamp()}).encode()
    message = read(MESSAGES[kind], plaintext, now=begun_at, freshness=Freshness())
    with transaction.atomic(), pghistory.context(source=HistorySource.RESTORE):
        lock_customer(message.customer)
        if isinstance(message, ChangeMessage):
            try:
                agreement = modifiable_agreement(message.customer, now=now, even_if_canceling=True)
            except NothingToModify:
                raise CannotRecreate("The customer has no subscription that stands.") from None
            if agreement.reference_number != reference_number:
                raise CannotRecreate(f"The customer's subscription is {agreement}.")
            return record_change(agreement, message, nonce=nonce, now=begun_at)
        if not ReferenceNumber.take(reference_number):
            raise CannotRecreate(f"{reference_number} is known here: search for it in the admin.")
        if isinstance(message, PurchaseMessage):
            return record_purchase(message, reference_number, nonce=nonce, now=begun_at)
        return record_subscription(message, reference_number, nonce=nonce, now=begun_at)
