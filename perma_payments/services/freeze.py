"""Freeze checkouts: nobody is sent to CyberSource, while everything else goes on.

Status, acknowledgements, CyberSource's responses, status reports and canceling are not affected.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pghistory
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from ..models import CheckoutFreeze
from ..models.history import HistorySource
from .locks import lock_rows

logger = logging.getLogger(__name__)


class NothingToSwitch(Exception):
    """Checkouts are frozen already, or they are not frozen."""


def current_freeze() -> CheckoutFreeze | None:
    """The freeze that staff have begun and not ended."""
    return CheckoutFreeze.objects.select_related("began_by").filter(ended_at=None).first()


def checkouts_are_frozen() -> bool:
    """Whether no checkout may be begun, because of staff or of the setting CHECKOUTS_FROZEN."""
    return settings.CHECKOUTS_FROZEN or current_freeze() is not None


def freeze_checkouts(*, by: User, reason: str, now: datetime) -> None:
    """Begin a freeze. Raises NothingToSwitch if staff have begun one already."""
    with _by_staff(by, reason):
        _, created = CheckoutFreeze.objects.get_or_create(
            ended_at=None, defaults={"began_at": now, "began_by": by, "reason": reason}
        )
        if not created:
            raise NothingToSwitch
    logger.warning("checkouts frozen by user %s", by.pk)


def resume_checkouts(*, by: User, reason: str, now: datetime) -> None:
    """End the freeze that staff have begun. Raises NothingToSwitch if there is none."""
    with _by_staff(by, reason):
        freezes = lock_rows(CheckoutFreeze.objects.filter(ended_at=None))
        if not freezes:
            raise NothingToSwitch
        for freeze in freezes:  # the constraint freeze_one_at_a_time allows one
            freeze.ended_at, freeze.ended_by, freeze.reason_to_end = now, by, reason
            freeze.save()
    logger.warning("checkouts resumed by user %s", by.pk)


@contextmanager
def _by_staff(by: User, reason: str) -> Iterator[None]:
    with transaction.atomic(), pghistory.context(source=HistorySource.STAFF, user=by.pk, reason=reason):
        yield
