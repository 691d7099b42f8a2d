"""What staff do each month, in a real browser, with the sandbox's Business Center."""

import base64
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.management import call_command
from django.utils import timezone
from django_otp.oath import totp
from playwright.sync_api import expect

from perma_payments.admin.base import ReadOnlyAdmin
from perma_payments.admin.login import groups, second_factors
from perma_payments.cybersource.status_report import NOT_SHOWN
from perma_payments.models import StaffTask, StatusReport, SubscriptionAgreement

from .. import records
from ..in_browser import Visit
from .working_day import working_day

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PASSWORD = "a long enough password"


@pytest.fixture
def staff(transactional_db: None) -> User:
    """A member of the billing staff."""
    # The groups come with the migrations, and go with the tests before.
    call_command("migrate", verbosity=0)
    cache.clear()
    user = User.objects.create_user("jane", password=PASSWORD, is_staff=True)
    user.groups.set(Group.objects.filter(name=groups.BILLING_STAFF))
    return user


def log_in(visit: Visit) -> None:
    visit.page.goto(f"{visit.payments}/admin/")
    visit.page.get_by_label("Username").fill("jane")
    visit.page.get_by_label("Password").fill(PASSWORD)
    visit.page.get_by_role("button", name="Log in").click()
    visit.page.get_by_role("heading", name="To do").wait_for()


def subscribe(visit: Visit) -> SubscriptionAgreement:
    visit.subscribe()
    visit.heading("Checkout")
    visit.page.get_by_role("button", name="Pay").click()
    visit.heading("Payment accepted")
    return SubscriptionAgreement.objects.get()


def download(visit: Visit, folder: Path) -> Path:
    """The Business Center's list of subscriptions, as CyberSource's page gives it."""
    visit.page.goto(f"{visit.sandbox}/subscriptions/")
    with visit.page.expect_download() as downloading:
        visit.page.get_by_role("link", name="Export CSV", exact=True).click()
    path = folder / downloading.value.suggested_filename
    downloading.value.save_as(path)
    return path


def upload(visit: Visit, file: Path) -> None:
    visit.page.goto(f"{visit.payments}/admin/perma_payments/statusreport/")
    visit.page.get_by_role("link", name="Upload a status report").click()
    visit.page.get_by_label("Report").set_input_files(file)
    visit.page.get_by_role("button", name="Show what it would change").click()
    visit.page.get_by_text("Nothing has been changed yet.").wait_for()


def test_staff_export_upload_preview_confirm_and_undo(visitor, staff, tmp_path):
    visit = visitor()
    agreement = subscribe(visit)
    visit.page.goto(f"{visit.sandbox}/subscriptions/")
    subscription = visit.page.get_by_role("listitem").filter(has_text=agreement.reference_number)
    subscription.get_by_label("Set to").select_option("HOLD")
    subscription.get_by_role("button", name="Set").click()
    file = download(visit, tmp_path)
    log_in(visit)

    upload(visit, file)
    expect(visit.page.get_by_role("row", name="Current Hold 1")).to_be_visible()
    expect(visit.page.get_by_text("more than a tenth")).to_be_visible()
    agreement.refresh_from_db()
    assert agreement.status == "Current"

    visit.page.get_by_label("I have checked: 1 of 1 would change status.").check()
    visit.page.get_by_role("button", name="Confirm: change 1 subscription").click()
    expect(visit.page.get_by_text("Confirmed. 1 subscription was changed.")).to_be_visible()
    agreement.refresh_from_db()
    assert agreement.status == "Hold"
    visit.page.get_by_role("link", name=agreement.reference_number).click()
    expect(visit.page.get_by_text("status: Current → Hold")).to_be_visible()
    visit.page.goto(visit.settings_page)
    expect(visit.page.locator("#status")).to_have_attribute("data-status", "Hold")

    upload(visit, file)
    expect(visit.page.get_by_text("Nothing: it agrees with what is on record.")).to_be_visible()
    expect(visit.page.get_by_text("This file was uploaded before: see the")).to_be_visible()

    confirmed = StatusReport.objects.get(state="applied")
    visit.page.goto(f"{visit.payments}/admin/perma_payments/statusreport/{confirmed.pk}/change/")
    visit.page.get_by_role("button", name="Undo: restore 1 subscription").click()
    expect(visit.page.get_by_text("Undone. 1 subscription was restored.")).to_be_visible()
    agreement.refresh_from_db()
    assert agreement.status == "Current"
    assert visit.complaints == []


def test_while_a_report_is_read_the_page_says_so(visitor, staff, tmp_path):
    visit = visitor()
    log_in(visit)
    file = tmp_path / "report.csv"
    file.write_text("Merchant Reference Code,Status\n")
    visit.page.goto(f"{visit.payments}/admin/perma_payments/statusreport/upload/")
    # As if the answer never came.
    visit.page.evaluate("document.addEventListener('submit', (event) => event.preventDefault())")
    visit.page.get_by_label("Report").set_input_files(file)
    button = visit.page.get_by_role("button", name="Show what it would change")
    button.click()

    expect(visit.page.get_by_role("status")).to_contain_text("Reading the report.")
    expect(button).to_be_disabled()
    assert visit.complaints == []
    visit.is_accessible()


def test_a_row_with_an_unknown_status_is_left_out_by_a_tick(visitor, staff, tmp_path):
    visit = visitor()
    agreement = subscribe(visit)
    file = download(visit, tmp_path)
    lines = file.read_text().replace("CURRENT", "HOLD").splitlines()
    file.write_text("\n".join([*lines, '1,PERMA-0000-0000,"Example, Erin",1.00,USD,SLEEPING', ""]))
    log_in(visit)

    upload(visit, file)
    said = f"Line {len(lines) + 1}: PERMA-0000-0000: {NOT_SHOWN}"
    expect(visit.page.get_by_text(said)).to_be_visible()
    visit.is_accessible()
    visit.page.get_by_role("button", name="Confirm: change 1 subscription").click()
    # The browser asks for the tick, and sends nothing.
    agreement.refresh_from_db()
    assert agreement.status == "Current"
    visit.page.get_by_label("I have checked: 1 of 1 would change status.").check()
    visit.page.get_by_label("Leave out the 1 row that could not be read").check()
    visit.page.get_by_role("button", name="Confirm: change 1 subscription").click()
    expect(visit.page.get_by_text("Confirmed. 1 subscription was changed.")).to_be_visible()


def test_a_note_survives_a_login_that_ends(visitor, staff):
    agreement = records.standing_agreement(cancellation_requested_at=timezone.now())
    task = StaffTask.objects.create(kind="cancellation", agreement=agreement)
    visit = visitor(viewport={"width": 390, "height": 844})
    log_in(visit)
    visit.page.goto(f"{visit.payments}/admin/perma_payments/stafftask/{task.pk}/change/")
    visit.page.get_by_role("textbox", name="What did you do").fill("Canceled in the Business Center.")
    Session.objects.all().delete()
    visit.page.get_by_role("button", name="Mark as done").click()

    expect(visit.page.get_by_role("alert")).to_contain_text("What you typed is kept")
    visit.is_accessible()
    visit.fits(390)
    visit.page.get_by_label("Username").fill("jane")
    visit.page.get_by_label("Password").fill(PASSWORD)
    visit.page.get_by_role("button", name="Log in").click()
    expect(visit.page.get_by_text("Canceled in the Business Center.")).to_be_visible()
    visit.is_accessible()
    visit.fits(390)
    visit.page.get_by_role("button", name="Mark as done").click()
    expect(visit.page.get_by_text("The task is done.")).to_be_visible()
    task.refresh_from_db()
    assert task.note == "Canceled in the Business Center."
    assert visit.complaints == []


def test_an_invited_person_sets_up_a_second_factor(visitor, staff, settings):
    settings.REQUIRE_SECOND_FACTOR = True
    token = second_factors.invite(staff, now=timezone.now())
    visit = visitor(viewport={"width": 390, "height": 844})
    visit.page.goto(f"{visit.payments}/admin/second-factor/?{urlencode({'invitation': token})}")
    visit.page.get_by_label("Username").fill("jane")
    visit.page.get_by_label("Password").fill(PASSWORD)
    visit.page.get_by_role("button", name="Log in").click()

    expect(visit.page.get_by_role("img", name="QR code")).to_be_visible()
    visit.is_accessible()
    visit.fits(390)
    key = base64.b32decode(visit.page.locator("code").inner_text())
    visit.page.get_by_role("textbox", name="Code").fill(f"{totp(key):06}")
    visit.page.get_by_role("button", name="Continue").click()
    visit.heading("Keep your recovery codes")
    visit.is_accessible()
    visit.fits(390)
    visit.page.get_by_role("link", name="continue").click()
    visit.page.get_by_role("heading", name="To do").wait_for()
    assert visit.complaints == []


def every_page(subscription: SubscriptionAgreement) -> Iterator[str]:
    """The addresses of all of staff's pages, with a row of each table."""
    yield from ("", "help/", "perma_payments/", "password_change/")
    yield from ("perma_payments/statusreport/upload/", "perma_payments/checkoutfreeze/switch/")
    for model, table in admin.site._registry.items():
        if isinstance(table, ReadOnlyAdmin):
            row = subscription if isinstance(subscription, model) else model._default_manager.latest("pk")
            folder = f"perma_payments/{model._meta.model_name}"
            yield f"{folder}/"
            yield f"{folder}/{row.pk}/change/"
            if table.correction and table.correction.is_possible(row):
                yield f"{folder}/{row.pk}/correct/"


def test_every_staff_page_fits_is_accessible_and_obeys_its_policy(visitor, staff):
    subscription = working_day(staff, now=timezone.now())
    visit = visitor()
    log_in(visit)
    for path in every_page(subscription):
        visit.page.emulate_media(media="screen")
        visit.page.goto(f"{visit.payments}/admin/{path}")
        # The last is paper.
        for media, width in (("screen", 1280), ("screen", 390), ("print", 740)):
            visit.page.emulate_media(media=media)
            visit.page.set_viewport_size({"width": width, "height": 844})
            visit.fits(width)
            visit.settles(
                "[...document.querySelectorAll('.results')].every(each => each.scrollWidth <= each.clientWidth)"
            )
            if media == "screen":
                visit.is_accessible()
    assert visit.complaints == []


def test_the_preview_of_a_correction_is_accessible(visitor, staff):
    subscription = records.standing_agreement()
    visit = visitor()
    log_in(visit)
    visit.page.goto(f"{visit.payments}/admin/perma_payments/subscriptionagreement/{subscription.pk}/correct/")
    visit.page.get_by_label("Status").select_option("Completed")
    visit.page.get_by_label("Reason").fill("They called.")
    visit.page.get_by_role("button", name="Preview the correction").click()
    visit.page.get_by_role("button", name="Apply this correction").wait_for()

    visit.is_accessible()
