"""Staff upload a status report in the admin."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from bs4 import BeautifulSoup
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from perma_payments.billing.customers import Customer
from perma_payments.models import StaffTask, StatusReport, SubscriptionAgreement
from perma_payments.services.status_reports.plan import plan_report

from .. import records
from ..pages import words
from ..records import REGISTRAR
from ..services.status_reports.test_plan import report

pytestmark = pytest.mark.django_db

LIST = "/admin/perma_payments/statusreport/"


@pytest.fixture
def staff(client: Client) -> Client:
    """Someone who may look at everything and upload reports."""
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_statusreport", "upload_statusreport"]))
    client.force_login(user)
    return client


@pytest.fixture
def upload(staff: Client) -> Callable[[bytes], HttpResponse]:
    """Upload a file, and follow to the page that it leads to."""

    def upload(data: bytes) -> HttpResponse:
        return staff.post(f"{LIST}upload/", {"report": SimpleUploadedFile("report.csv", data)}, follow=True)

    return upload


def standing(count: int) -> list[SubscriptionAgreement]:
    """Subscriptions of different customers, paid for until some day of the past."""
    past = timezone.now() - timedelta(days=40)
    return [
        records.standing_agreement(Customer(REGISTRAR.type, pk), covered_until=past) for pk in range(1, count + 1)
    ]


def press_confirm(staff: Client, pk: int, revision: int = 1, **fields: str) -> HttpResponse:
    """Confirm the preview of a page that was opened before; the first one, if nothing is said."""
    return staff.post(f"{LIST}{pk}/confirm/", {"revision": revision, **fields}, follow=True)


def test_upload_look_confirm_undo(staff, upload):
    agreement, *others = standing(20)
    preview = upload(report((agreement, "HOLD"), *[(other, "CURRENT") for other in others]))
    said = words(preview)
    assert "Nothing has been changed yet." in said
    assert "Current Hold 1" in said
    assert f"{agreement.reference_number} Current → Hold unchanged" in said
    assert "Current Current, paid for until a later date 19" in said
    agreement.refresh_from_db()
    assert agreement.status == "Current"

    pk = StatusReport.objects.get().pk
    confirmed = words(press_confirm(staff, pk))
    assert "Confirmed. Subscriptions changed: 20." in confirmed
    assert "Confirmed by staff" in confirmed
    agreement.refresh_from_db()
    assert agreement.status == "Hold"

    undone = words(staff.post(f"{LIST}{pk}/undo/", follow=True))
    assert "Undone. Subscriptions that are as they were: 20." in undone
    agreement.refresh_from_db()
    assert agreement.status == "Current"


def test_an_unknown_status_among_good_rows_is_named_and_must_be_left_out(staff, upload):
    agreements = standing(3)
    rows = [(agreements[0], "HOLD"), (agreements[1], "SLEEPING"), (agreements[2], "HOLD")]
    said = words(upload(report(*rows)))
    assert "1 row could not be read" in said
    assert "Line 7:" in said and "SLEEPING" in said

    pk = StatusReport.objects.get().pk
    assert "Some rows could not be read, so nothing was changed." in words(press_confirm(staff, pk))
    assert "Subscriptions changed: 2." in words(press_confirm(staff, pk, leave_out="on"))


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"status": "Canceled"}, "1 subscription would come back from an ending"),
        ({"status": "Hold"}, "more than a tenth"),
    ],
)
def test_what_is_suspicious_is_said_in_words(upload, change, warning):
    agreements = standing(2)
    SubscriptionAgreement.objects.filter(pk=agreements[0].pk).update(**change)

    assert warning in words(upload(report((agreements[0], "CURRENT"), (agreements[1], "CURRENT"))))


def test_a_report_about_nobody_of_ours_is_said_to_be_so(upload):
    standing(1)

    said = words(upload(report(("ORDER-1", "CURRENT"))))
    assert "No row of this report is about a subscription of ours." in said


def test_a_report_that_lacks_some_of_ours_or_is_shorter_or_the_same_is_said_to_be_so(staff, upload):
    agreements = standing(20)
    whole = report(*[(agreement, "CURRENT") for agreement in agreements])
    upload(whole)
    press_confirm(staff, StatusReport.objects.get().pk)

    assert "This is the same file as the status report of" in words(upload(whole))
    shorter = words(upload(report(*[(agreement, "CURRENT") for agreement in agreements[:10]])))
    assert "10 of 20 standing subscriptions are not in this report." in shorter
    assert "This report has 10 rows; the last one" in shorter


def test_only_standing_subscriptions_count_for_the_tenth(upload):
    ended = standing(10)
    SubscriptionAgreement.objects.update(status="Canceled")
    records.standing_agreement(Customer(REGISTRAR.type, 99))

    assert "more than a tenth" not in words(upload(report(*[(agreement, "COMPLETED") for agreement in ended])))


@pytest.mark.parametrize(
    ("days", "sentence"), [(-1, ""), (1, ""), (2, "which is yet to come"), (-4, "This report is old")]
)
def test_when_a_report_says_that_it_was_made_must_make_sense(upload, days, sentence):
    made_on = timezone.now().date() + timedelta(days=days)
    data = report((standing(1)[0], "HOLD")).replace(b"Dec 02 2026", f"{made_on:%b %d %Y}".encode())

    said = words(upload(data))
    assert sentence in said
    assert ("This report says" in said or "This report is old" in said) == bool(sentence)


def test_a_second_click_confirms_nothing_that_nobody_has_seen(staff, upload):
    (agreement,) = standing(1)
    upload(report((agreement, "HOLD")))
    SubscriptionAgreement.objects.update(status="Canceled")
    pk = StatusReport.objects.get().pk

    assert "Something has changed since this preview was made." in words(press_confirm(staff, pk))
    said = words(press_confirm(staff, pk))
    assert "recomputed after you opened it" in said and "come back from an ending" in said
    assert "Subscriptions changed: 1." in words(press_confirm(staff, pk, revision=2))


@pytest.mark.parametrize("revision", ["", "x", "-1", "1e9", "9" * 30, "²"])
def test_a_confirmation_without_its_revision_confirms_nothing(staff, upload, revision):
    upload(report((standing(1)[0], "HOLD")))

    pk = StatusReport.objects.get().pk
    assert "recomputed" in words(staff.post(f"{LIST}{pk}/confirm/", {"revision": revision}, follow=True))
    assert StatusReport.objects.get().state == "planned"


def test_a_report_that_was_made_before_the_last_one_is_said_to_be_so(staff, upload):
    agreements = standing(1)
    StatusReport.objects.create(
        digest="0" * 64,
        row_count=1,
        matched_count=1,
        made_on=date(2030, 1, 1),
        state="applied",
        uploaded_by=User.objects.get(),
        applied_by=User.objects.get(),
        applied_at=timezone.now(),
    )

    said = words(upload(report((agreements[0], "HOLD"))))
    assert "This report was made on 2026-12-02, before the last one, which was made on 2030-01-01." in said


def test_a_status_never_seen_is_said_to_be_so(upload):
    rows = [(agreement, "SLEEPING") for agreement in standing(3)]

    assert "We have never seen this status: “SLEEPING” (3 rows)." in words(upload(report(*rows)))


def test_a_request_that_is_only_done_with_is_a_change_of_its_own(upload):
    (agreement,) = standing(1)
    SubscriptionAgreement.objects.update(status="Canceled", cancellation_requested_at=timezone.now())

    said = words(upload(report((agreement, "CANCELED"))))
    assert "Canceled, cancellation requested Canceled, the request is done 1" in said
    assert f"{agreement.reference_number} Canceled unchanged the requested cancellation is done" in said


def test_a_report_that_changes_nothing_is_confirmed_all_the_same(staff, upload):
    (agreement,) = standing(1)
    SubscriptionAgreement.objects.update(status="Hold")
    said = words(upload(report((agreement, "HOLD"))))
    assert "Nothing: what it says is what we have. Confirm it all the same" in said

    said = words(press_confirm(staff, StatusReport.objects.get().pk))
    assert "Confirmed. Subscriptions changed: 0." in said


@pytest.mark.parametrize("hopeless", ["too old", "not ours"])
def test_a_preview_that_cannot_be_confirmed_offers_no_button(staff, upload, hopeless):
    now = timezone.now() - timedelta(days=2 if hopeless == "too old" else 0)
    rows = [(standing(1)[0] if hopeless == "too old" else "ORDER-1", "HOLD")]
    pk = plan_report(report(*rows), by=User.objects.get(), now=now).pk

    page = staff.get(f"{LIST}{pk}/change/")
    assert b"/confirm/" not in page.content
    assert ("more than a day old" in words(page)) == (hopeless == "too old")


@pytest.mark.django_db(transaction=True)
def test_who_would_have_to_wait_for_too_long_is_told_so_and_changes_nothing(
    staff, upload, impatient, held_elsewhere
):
    (agreement,) = standing(1)
    upload(report((agreement, "HOLD")))
    with held_elsewhere(agreement):
        said = words(press_confirm(staff, StatusReport.objects.get().pk))

    assert "Someone else is changing these subscriptions. Nothing was changed" in said
    assert StatusReport.objects.get().state == "planned"


def test_a_cancellation_that_is_marked_as_done_but_still_charged_is_said_to_be_so(upload):
    done, opened = standing(2)
    for agreement, ended in ((done, {"done_at": timezone.now(), "resolution": "done"}), (opened, {})):
        SubscriptionAgreement.objects.filter(pk=agreement.pk).update(cancellation_requested_at=timezone.now())
        StaffTask.objects.create(kind="cancellation", agreement=agreement, **ended)

    said = words(upload(report((done, "CURRENT"), (opened, "CURRENT"))))
    assert f"The cancellation of {done.reference_number} is marked as done, but CyberSource still charges" in said


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "The file is empty."),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04", ""),
        (b"a,b\n1,2\n", ""),
        (b"x" * (23 * 1024 * 1024), "The file is larger than 20 MB, too large for a status report."),
    ],
)
def test_a_file_that_is_no_report_gets_a_sentence_and_leaves_nothing(upload, data, sentence):
    response = upload(data)

    assert response.status_code == 200
    errors = BeautifulSoup(response.content, "html.parser").select_one(".errorlist")
    assert errors is not None and len(errors.get_text()) > 20
    assert sentence in errors.get_text()
    assert not StatusReport.objects.exists()


def test_no_file_gets_a_sentence(staff):
    for posted in ({}, {"report": "not a file"}):
        said = words(staff.post(f"{LIST}upload/", posted))
        assert "No file was chosen. Choose the CSV file that you downloaded" in said


def test_who_may_only_look_can_upload_confirm_and_undo_nothing(client, upload):
    upload(report((standing(1)[0], "HOLD")))
    pk = StatusReport.objects.get().pk
    auditor = User.objects.create_user("auditor", is_staff=True)
    auditor.user_permissions.set(Permission.objects.filter(codename="view_statusreport"))
    client.force_login(auditor)

    assert "Upload a status report" not in words(client.get(LIST))
    page = client.get(f"{LIST}{pk}/change/")
    assert page.status_code == 200
    assert b"<button" not in page.content.replace(b"theme-toggle", b"").split(b'id="content"')[1]
    assert client.get(f"{LIST}upload/").status_code == 403
    for way in ("confirm", "undo"):
        assert client.post(f"{LIST}{pk}/{way}/").status_code == 403
        assert client.get(f"{LIST}{pk}/{way}/").status_code == 405


@pytest.mark.parametrize("address", ["999999/change/", "x/change/"])
def test_an_upload_that_is_not_there_is_a_404(staff, address):
    assert staff.get(LIST + address).status_code == 404


def test_confirming_what_is_not_there_is_a_404(staff):
    assert staff.post(f"{LIST}999999/confirm/").status_code == 404


def test_a_page_number_that_is_none_shows_a_page(staff, upload, settings: Any):
    upload(report((standing(1)[0], "HOLD")))

    assert staff.get(f"{LIST}{StatusReport.objects.get().pk}/change/?page=x").status_code == 200
