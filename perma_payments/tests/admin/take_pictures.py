"""Takes the pictures in docs/staff.md: python -m pytest perma_payments/tests/admin/take_pictures.py

It is no test, so pytest does not collect it by itself.
"""

import pytest
from django.conf import settings
from django.utils import timezone

from perma_payments.models import StatusReport

from .test_staff_in_browser import log_in, pytestmark, staff  # noqa: F401 (a mark and a fixture)
from .working_day import working_day

FOLDER = settings.BASE_DIR / "docs" / "pictures"
WIDTH = 1040


@pytest.mark.parametrize(
    ("name", "path", "height"),
    [
        ("front-page", "", 690),
        ("report-preview", "perma_payments/statusreport/{report}/change/", 760),
        ("subscription", "perma_payments/subscriptionagreement/{subscription}/change/", 620),
    ],
)
def test_take(visitor, staff, name, path, height):
    subscription = working_day(staff, now=timezone.now())
    visit = visitor(viewport={"width": WIDTH, "height": height})
    log_in(visit)
    planned = StatusReport.objects.get(state="planned")
    visit.page.goto(f"{visit.payments}/admin/{path.format(report=planned.pk, subscription=subscription.pk)}")
    visit.fits(WIDTH)

    visit.page.screenshot(path=FOLDER / f"{name}.png")
