"""A caller reads out a number, in a real browser."""

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from perma_payments.models import StaffTask

from .. import records
from .test_staff_in_browser import log_in, staff  # noqa: F401 (a fixture)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_caller_with_a_number_takes_one_search(visitor, staff):
    row = records.standing_agreement(cancellation_requested_at=timezone.now(), reference_number="PERMA-1943-7227")
    records.paid_purchase(reference_number="PERMA-0002-7227")
    StaffTask.objects.create(kind="cancellation", agreement=row)
    visit = visitor()
    log_in(visit)
    box = visit.page.get_by_role("searchbox", name="Search for a reference number")

    box.fill("1943 7227")
    box.press("Enter")
    visit.heading("Registrar 7")
    expect(visit.page.locator("article:target")).to_contain_text("PERMA-1943-7227 Current")
    visit.page.get_by_text("The reply to Perma.cc, word for word").click()
    expect(visit.page.get_by_text('"status": "Cancellation Requested"')).to_be_visible()
    visit.is_in_order()

    box.fill("7227")
    visit.page.get_by_role("button", name="Search").click()
    visit.heading("Search")
    expect(visit.page.get_by_role("link", name="PERMA-0002-7227")).to_be_visible()
    visit.is_in_order()

    box.fill("Jane Doe")
    box.press("Enter")
    expect(visit.page.get_by_text("Nothing was found for “Jane Doe”.")).to_be_visible()
    visit.is_in_order()
