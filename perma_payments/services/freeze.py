"""The freeze switch: while checkouts are frozen, nobody is sent to CyberSource, and everything else goes on.

There are two, and either one is enough: the setting CHECKOUTS_FROZEN, which the developers have, and a freeze that
staff begin and end in the admin.
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
from ..postgres.built_once import BuiltOnce
from ..postgres.write import insert_unless_there

logger = logging.getLogger(__name__)

_IN_FORCE = BuiltOnce(lambda: CheckoutFreeze.objects.in_force().values_list("pk"))


class AlreadyFrozen(Exception):
    """A freeze of staff's is in force, perhaps someone else's of the same moment."""


class NotFrozen(Exception):
    """The freeze has ended already."""


def checkouts_are_frozen() -> bool:
    """Whether nobody may begin or continue a checkout now."""
    return settings.CHECKOUTS_FROZEN or _IN_FORCE.exists()


def begin_freeze(*, by: User, reason: str, now: datetime) -> CheckoutFreeze:
    """Freeze checkouts. Raises AlreadyFrozen."""
    with _by_staff(by, reason):
        freeze = CheckoutFreeze(began_at=now, began_by=by, reason=reason)
        # The database lets only one be in force.
        if not insert_unless_there(freeze):
            raise AlreadyFrozen
    logger.warning("checkouts are frozen: freeze %s, by user %s", freeze.pk, by.pk)
    return freeze


def end_freeze(freeze_id: int, *, by: User, reason: str, now: datetime) -> None:
    """End this freeze, and no other that may have begun since the user looked at it. Raises NotFrozen."""
    in_force = CheckoutFreeze.objects.in_force().filter(pk=freeze_id)
    with _by_staff(by, reason):
        if not in_force.update(ended_at=now, ended_by=by, end_reason=reason):
            raise NotFrozen
    logger.warning("freeze %s was ended by user %s", freeze_id, by.pk)


@contextmanager
def _by_staff(by: User, reason: str) -> Iterator[None]:
    with transaction.atomic(), pghistory.context(source=HistorySource.STAFF, user=by.pk, reason=reason):
        yield
