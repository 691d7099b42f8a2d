"""The base of the commands that do a daily job."""

from functools import partial
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ...emails import NotDelivered
from ...services.once_a_day import NotYet, do_once_a_day
from ..jobs import DAILY_JOBS


class DailyJobCommand(BaseCommand):
    """Does one daily job, unless it was done today, by the scheduler or by hand."""

    job: ClassVar[str]

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        try:
            done = do_once_a_day(self.job, partial(DAILY_JOBS[self.job], now=now), now=now)
        except NotDelivered as failure:
            raise CommandError(f"The {self.job} could not be mailed: {failure}.") from None
        except NotYet as problem:
            raise CommandError(str(problem)) from None
        self.stdout.write(f"The {self.job} is done." if done else f"The {self.job} was already done today.")
