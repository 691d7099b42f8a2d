"""Staff upload a status report in the admin, check it, confirm it and undo it."""

import csv
import io
from collections.abc import Callable
from datetime import date, timedelta

import pytest
from bs4 import BeautifulSoup
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from perma_payments.admin import report_changes, status_reports
from perma_payments.billing.customers import Customer
from perma_payments.billing.transactions import Kind
from perma_payments.cybersource.status_report import NOT_SHOWN
from perma_payments.models import StatusReport, SubscriptionAgreement
from perma_payments.services.status_reports.plan import plan_report
from perma_payments.services.status_reports.warnings import SERIOUS, WarningKind, required_checks

from .. import records
from ..business_center import report
from ..pages import words
from ..records import REGISTRAR

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


def made_today(*rows: tuple[SubscriptionAgreement, str]) -> bytes:
    """A report that does not say when it was made, so it is of the day of its upload."""
    return report(*rows, made_on="")


def confirm(staff: Client, revision: object = 1, **fields: object) -> HttpResponse:
    """Check what the only report requires, unless other fields are given, and press Confirm.

    The report is confirmed as it was planned first, unless another revision is given.
    """
    report = StatusReport.objects.get()
    required = required_checks(report)
    checked = {"checked": list(required.kinds), "endings": required.endings or ""}
    return staff.post(f"{LIST}{report.pk}/confirm/", {"revision": revision, **checked, **fields}, follow=True)


def last_line(page: HttpResponse) -> str:
    """The last of the changes that a page lists."""
    return " ".join(BeautifulSoup(page.content, "html.parser").select("tr")[-1].get_text(" ").split())


def undo(staff: Client) -> HttpResponse:
    return staff.post(f"{LIST}{StatusReport.objects.get().pk}/undo/", follow=True)


def test_upload_check_confirm_undo(staff, upload):
    agreement, *others = standing(20)
    said = words(upload(made_today((agreement, "HOLD"), *[(other, "CURRENT") for other in others])))
    assert "20 rows, 20 about our subscriptions. Nothing has been changed yet." in said
    assert "Current the last charge succeeded: paid for until the next one 19" in said
    assert "Hold a charge failed: nothing more is paid for 1" in said
    assert "Current Hold 1" in said
    assert "Current Current, paid for until a later date 19" in said
    assert f"{agreement.reference_number} Registrar 1 Current → Hold unchanged" in said
    agreement.refresh_from_db()
    assert agreement.status == "Current"

    said = words(confirm(staff))
    assert "Confirmed. 20 subscriptions were changed." in said
    assert "Confirmed by staff" in said
    agreement.refresh_from_db()
    assert agreement.status == "Hold"

    said = words(undo(staff))
    assert "Undone. 20 subscriptions were restored." in said
    assert "Undone by staff" in said
    agreement.refresh_from_db()
    assert agreement.status == "Current"


def test_one_subscription_is_counted_in_the_singular(staff, upload):
    upload(report((standing(1)[0], "HOLD")))
    assert "Confirmed. 1 subscription was changed." in words(confirm(staff))
    assert "Undone. 1 subscription was restored." in words(undo(staff))


def test_a_report_that_changes_nothing_can_be_confirmed(staff, upload):
    (agreement,) = standing(1)
    SubscriptionAgreement.objects.update(status="Hold")

    said = words(upload(report((agreement, "HOLD"))))
    assert "Nothing: it agrees with what is on record. Confirm anyway, so that the check is recorded." in said
    assert "Confirmed. 0 subscriptions were changed." in words(confirm(staff))


def test_unread_rows_are_named_and_left_out_by_a_tick(staff, upload, monkeypatch):
    monkeypatch.setattr(status_reports, "MAX_UNREAD_ROWS_SHOWN", 1)
    first, unread, other = standing(3)
    said = words(upload(report((first, "HOLD"), (unread, "SLEEPING"), (other, "HOLD"), ("ORDER-1", ""))))
    assert "2 rows could not be read" in said
    assert f"Line 7: {unread}: {NOT_SHOWN} and 1 more" in said

    assert "check each point" in words(confirm(staff, checked=["many changes"]))
    assert "2 subscriptions were changed." in words(confirm(staff))


def test_each_serious_warning_has_a_tick_below_the_list(staff, upload):
    ending, *others = [records.standing_agreement(Customer(REGISTRAR.type, pk)) for pk in range(1, 5)]
    page = upload(made_today((ending, "CANCELED"), (others[0], "CANCELED"), (others[1], "HOLD")))
    soup = BeautifulSoup(page.content, "html.parser")
    (form,) = soup.select("form.confirm")

    said = [" ".join(label.get_text().split()) for label in form.select("label:has(input)")]
    assert said == [
        "I have checked: 2 of 4 would end.",
        "I have checked: 3 of 4 would change status.",
        "I have checked: 1 of 4 are not in this report.",
    ]
    assert {box["value"] for box in form.select("[type=checkbox][required]")} == {
        "many endings",
        "many changes",
        "missing",
    }
    assert form.select_one("[name=endings][required]")["pattern"] == "2|2"
    assert "Each subscription" in " ".join(heading.get_text() for heading in form.find_all_previous("h2"))


@pytest.mark.parametrize(("typed", "is_confirmed"), [("", False), ("2", False), ("x", False), (" 1 ", True)])
def test_many_endings_are_confirmed_by_typing_their_number(staff, upload, typed, is_confirmed):
    (agreement,) = standing(1)
    upload(report((agreement, "CANCELED")))

    said = words(confirm(staff, endings=typed))
    assert ("1 subscription was changed" in said) == is_confirmed
    assert ("the number that you typed is not the number" in said) == (not is_confirmed)


def test_a_report_that_looks_like_the_upgrade_is_stopped(staff, upload):
    page = upload(report(*[(each, "CANCELED") for each in standing(5)]))

    assert "Stop: this may be CyberSource's upgrade, and not 5 cancellations." in words(page)
    assert b"/confirm/" not in page.content and b"/discard/" in page.content
    assert "This report would end almost every subscription" in words(confirm(staff))


def test_a_report_is_discarded(staff, upload):
    upload(report((standing(1)[0], "HOLD")))
    path = f"{LIST}{StatusReport.objects.get().pk}"

    page = staff.post(f"{path}/discard/", follow=True)
    said = words(page)
    assert "Discarded. Nothing was changed." in said and "Discarded by staff on" in said
    assert b"/confirm/" not in page.content and b"/discard/" not in page.content
    assert "What it would change" in said


def test_a_second_click_confirms_nothing_that_nobody_has_seen(staff, upload):
    (agreement,) = standing(1)
    upload(report((agreement, "HOLD")))
    SubscriptionAgreement.objects.update(status="Canceled")

    assert "Something has changed since this preview was made." in words(confirm(staff))
    said = words(confirm(staff))
    assert "recomputed after you opened it" in said and "1 subscription would be reactivated" in said
    assert "1 subscription was changed." in words(confirm(staff, revision=2))


@pytest.mark.parametrize("revision", ["", "x", "-1", "1e9", "9" * 5000, "²", "١"])
def test_nothing_is_confirmed_without_its_revision(staff, upload, revision):
    upload(report((standing(1)[0], "HOLD")))

    assert "recomputed" in words(confirm(staff, revision))
    assert StatusReport.objects.get().state == "planned"


@pytest.mark.django_db(transaction=True)
def test_a_lock_that_cannot_be_acquired_gives_no_error_page(staff, upload, impatient, held_elsewhere):
    (agreement,) = standing(1)
    upload(report((agreement, "HOLD")))
    with held_elsewhere(agreement):
        said = words(confirm(staff))

    assert "Someone else is changing these subscriptions. Nothing was changed" in said
    assert StatusReport.objects.get().state == "planned"


# --- The page -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "changes", "said"),
    [
        ("RETRY", {"status": "Hold"}, "a charge failed and is being retried"),
        ("CURRENT", {"status": "Superseded"}, "reactivated"),
        ("HOLD", {"payment_token": ""}, "takes its token from the report"),
        ("CANCELED", {"cancellation_requested_at": timezone.now()}, "the requested cancellation is done"),
    ],
)
def test_each_line_says_what_else_it_does(upload, status, changes, said):
    (agreement,) = standing(1)
    SubscriptionAgreement.objects.update(**changes)
    assert last_line(upload(report((agreement, status)))).endswith(said)


@pytest.mark.parametrize(
    ("token", "said", "total"),
    [
        (
            "7408214003316000008888",
            "recovered with the terms of its checkout; takes its token from the report",
            "",
        ),
        ("", "recovered with the terms of its checkout; without a token", "1 of them without a token"),
    ],
)
def test_a_recovery_is_explained(upload, token, said, total):
    agreement = records.outgoing(Kind.SUBSCRIBE).agreement
    response = upload(report((agreement, "CURRENT"), token=token))
    page = words(response)

    assert last_line(response).endswith(said)
    assert "1 subscription, for which CyberSource's response never came, is recovered with" in page
    assert total in page and ("without a token, so" in page) == bool(total)


@pytest.mark.parametrize(
    ("status", "changes", "said"),
    [
        ("CANCELED", {"status": "Canceled", "cancellation_requested_at": timezone.now()}, "the request is done 1"),
        ("HOLD", {"status": "Hold", "payment_token": ""}, "Without a token With the token from the report 1"),
    ],
)
def test_changes_other_than_of_the_status_are_counted(upload, status, changes, said):
    (agreement,) = standing(1)
    SubscriptionAgreement.objects.update(**changes)
    assert said in words(upload(report((agreement, status))))


def test_duplicates_and_unknown_reference_numbers_are_named(upload):
    (agreement,) = standing(1)
    rows = [(agreement, "SUPERSEDED"), (agreement, "HOLD"), ("PERMA-0000-0000", "HOLD"), ("Erin", "HOLD")]
    said = words(upload(report(*rows)))

    assert f"1 reference number with several rows {agreement} (lines 6, 7): Superseded, Hold; Hold counts" in said
    assert "2 reference numbers that we don't know" in said and "PERMA-0000-0000 and more." in said


def test_many_changes_have_pages(staff, upload, monkeypatch):
    monkeypatch.setattr(report_changes, "PER_PAGE", 2)
    agreements = standing(3)
    path = upload(report(*[(each, "HOLD") for each in agreements])).redirect_chain[-1][0] + "?sort=customer"
    first = words(staff.get(path))
    assert "Page 1 of 2: next" in first and f"{agreements[2]} Registrar 3 Current" not in first

    second = words(staff.get(f"{path}&page=2"))
    assert "Page 2 of 2: previous" in second and f"{agreements[2]} Registrar 3 Current" in second
    assert "Page 1 of 2" in words(staff.get(f"{path}&page=x"))


@pytest.fixture
def page_of_a_mixture(upload):
    """The page of a report that changes six subscriptions in different ways, and these in the page's order."""
    changes = {
        "HOLD": {},
        "CANCELED": {},
        "CURRENT": {},
        "SUPERSEDED": {},
        "Current": {"status": "Completed"},
        "Hold": {"status": "Hold", "payment_token": ""},
    }
    agreements = dict(zip(changes, standing(6), strict=True))
    for status, columns in changes.items():
        SubscriptionAgreement.objects.filter(pk=agreements[status].pk).update(**(columns or {"status": "Current"}))
    page = upload(made_today(*((agreement, status) for status, agreement in agreements.items())))
    order = ["CANCELED", "SUPERSEDED", "Current", "HOLD", "CURRENT", "Hold"]
    return page.redirect_chain[-1][0], [str(agreements[status]) for status in order]


def test_a_charge_that_differs_from_our_terms_is_named(upload):
    agreement = records.standing_agreement(
        current_link_limit_effective_timestamp=timezone.now() - timedelta(days=9)
    )
    page = upload(made_today((agreement, "CURRENT")).replace(b",45.00,", b",90.00,"))

    assert last_line(page).endswith("CyberSource charges $90.00, we have $45.00 monthly")
    assert f"CyberSource charges 1 subscription differently from our records: {agreement} ." in words(page)


def references(page: HttpResponse) -> list[str]:
    """The reference numbers in the list of changes."""
    return [cell.get_text() for cell in BeautifulSoup(page.content, "html.parser").select("#changes td a")]


def test_changes_are_in_groups_and_those_that_end_come_first(staff, page_of_a_mixture):
    path, expected = page_of_a_mixture
    page = staff.get(path, {"sort": "customer"})

    assert references(page) == expected
    titles = [th.get_text() for th in BeautifulSoup(page.content, "html.parser").select("#changes th[colspan]")]
    assert titles == ["Ending", "Reactivated", "Other changes of status", "Only the date changes", "Other changes"]


@pytest.mark.parametrize(
    ("show", "at"),
    [("ending", slice(0, 2)), ("reactivated", slice(2, 3)), ("date", slice(4, 5)), ("nonsense", slice(0, 6))],
)
def test_one_group_can_be_shown_alone(staff, page_of_a_mixture, show, at):
    path, expected = page_of_a_mixture
    page = staff.get(path, {"show": show, "sort": "customer"})

    assert references(page) == expected[at]
    assert "Ending (2)" in words(page) and "All (6)" in words(page)


@pytest.mark.parametrize("column", ["reference", "customer", "status", "until"])
def test_each_group_can_be_sorted_both_ways(staff, column):
    agreements = standing(3)
    for agreement, days in zip(agreements, (15, 5, 10), strict=True):
        agreement.schedule_start = timezone.now().date() - timedelta(days=days)
        agreement.save()
    data = made_today(*[(agreement, "CURRENT") for agreement in agreements])
    pk = plan_report(data, by=User.objects.get(), now=timezone.now()).pk
    up, down = [references(staff.get(f"{LIST}{pk}/change/", {"sort": sort})) for sort in (column, f"-{column}")]

    in_order = {
        "reference": sorted(map(str, agreements)),
        "customer": [str(agreement) for agreement in agreements],
        "status": sorted(map(str, agreements)),
        "until": [str(agreements[at]) for at in (0, 2, 1)],
    }[column]
    assert up == in_order
    assert down == (in_order if column == "status" else in_order[::-1])


def test_a_sorted_column_says_so_and_its_link_turns_it_around(staff, page_of_a_mixture):
    path, _ = page_of_a_mixture
    soup = BeautifulSoup(staff.get(path, {"sort": "customer", "show": "ending"}).content, "html.parser")
    (header,) = soup.select("th[aria-sort]")

    assert (header["aria-sort"], header.a.get_text()) == ("ascending", "Customer")
    assert header.a["href"] == "?sort=-customer&show=ending#changes"


def read_csv(page: HttpResponse) -> list[dict[str, str]]:
    assert page.headers["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(page.getvalue().decode("utf-8-sig").splitlines()))


def test_the_changes_can_be_downloaded_as_csv(staff, page_of_a_mixture):
    path, expected = page_of_a_mixture
    missing = records.standing_agreement(Customer(REGISTRAR.type, 99))
    address = path.replace("change/", "changes.csv")

    rows = read_csv(staff.get(address, {"sort": "customer"}))
    assert [row["Reference number"] for row in rows] == [*expected, str(missing)]
    assert rows[0] == {
        "Change": "Ending",
        "Reference number": expected[0],
        "Customer": "Registrar 2",
        "Status before": "Current",
        "Status after": "Canceled",
        "Paid for until, before": "",
        "Paid for until, after": "",
        "Also": "",
    }
    assert rows[-1]["Change"] == "Missing from the report"
    alone = read_csv(staff.get(address, {"show": "ending", "sort": "-customer"}))
    assert [row["Reference number"] for row in alone] == expected[1::-1]


def test_the_csv_has_all_batches(staff, page_of_a_mixture, monkeypatch):
    monkeypatch.setattr(report_changes, "CSV_ROWS_AT_A_TIME", 2)
    path, expected = page_of_a_mixture
    rows = read_csv(staff.get(path.replace("change/", "changes.csv"), {"sort": "customer"}))
    assert [row["Reference number"] for row in rows] == expected


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx"])
def test_no_cell_of_the_csv_begins_like_a_formula(staff, page_of_a_mixture, monkeypatch, cell):
    monkeypatch.setattr(report_changes, "remarks", lambda line: [cell])
    path, _ = page_of_a_mixture
    text = staff.get(path.replace("change/", "changes.csv")).getvalue().decode("utf-8-sig")
    assert {row[-1] for row in csv.reader(io.StringIO(text, newline=""))} == {"Also", f"'{cell}"}


def test_the_csv_takes_the_permission_to_view_reports(staff, page_of_a_mixture):
    path, _ = page_of_a_mixture
    User.objects.get().user_permissions.clear()
    assert staff.get(path.replace("change/", "changes.csv")).status_code == 403


def test_what_is_missing_is_named(staff, upload, monkeypatch):
    monkeypatch.setattr(status_reports, "MAX_MISSING_SHOWN", 1)
    listed, canceled, missing, also_missing = standing(4)
    SubscriptionAgreement.objects.filter(pk=canceled.pk).update(status="Canceled")
    said = words(upload(report((listed, "HOLD"))))

    assert "2 standing subscriptions are not in this report Confirming leaves them unchanged." in said
    assert "The first 1 are listed here; the CSV file of all changes has the others, too." in said
    assert f"{missing} Registrar 3 Current" in said and f"{also_missing} Registrar 4" not in said
    assert "Confirming leaves" not in words(confirm(staff))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            "upgrade",
            "Stop: this may be CyberSource's upgrade, and not 1,200 cancellations. According to this report,",
        ),
        ("same file", "This file was uploaded before: see the status report of"),
        ("nothing of ours", "This report has none of our subscriptions."),
        ("unread rows", "1,200 rows can't be read; they are listed below."),
        (
            "unknown status",
            "We don't know the status “Pending” (2 rows), statuses that are not shown, because they may be names "
            "(1 row). Look at these rows",
        ),
        ("short", "This report has 3 rows; the last one, the status report of"),
        ("before last", "This report was made on 2026-12-02, before the last one, which was made on 2030-01-01."),
        ("old", "This report is old: it was made on 2026-12-02."),
        ("from the future", "This report says that it was made on 2026-12-02, which is in the future."),
        ("unreadable dates", "1,200 dates of next charges can't be read."),
        ("unreadable terms", "1,200 amounts or frequencies can't be read, so they were not compared with our"),
        ("implausible dates", "1,200 dates of next charges can't be right: PERMA-1, PERMA-2. What"),
        ("different terms", "CyberSource charges 1,200 subscriptions differently from our records: PERMA-1"),
        ("reactivated", "1,200 subscriptions would be reactivated: PERMA-1, PERMA-2. CyberSource"),
        ("second subscription", "1,200 subscriptions would be one of several that a customer pays for: PERMA-1"),
        ("unproven ending", "1,200 subscriptions would end around the day of a charge: PERMA-1, PERMA-2."),
        ("immediate ending", "1,200 subscriptions would end at once, because no report has shown the last charge"),
        ("without token", "1,200 subscriptions would be recovered without a token"),
        ("without terms", "1,200 subscriptions can't be recovered, because there is no checkout on record"),
        ("many endings", "1,200 of 5,300 standing subscriptions would end: more than a tenth."),
        ("many changes", "1,200 of 5,300 standing subscriptions would change status: more than a tenth."),
        ("missing", "1,200 of 5,300 standing subscriptions are not in this report."),
        ("still charged", "1,200 cancellations are marked as done, but CyberSource still charges: PERMA-1"),
    ],
)
def test_each_warning_is_a_sentence(staff, kind, said):
    by = {"uploaded_by": User.objects.get()}
    last = StatusReport.objects.create(row_count=9, made_on=date(2030, 1, 1), **by)
    warning = {"kind": kind, "count": 1200, "total": 5300, "examples": ["PERMA-1", "PERMA-2"], "report": last.pk}
    planned = StatusReport.objects.create(
        row_count=3,
        made_on=date(2026, 12, 2),
        unknown_statuses={"Pending": 2, "(withheld)": 1},
        spoiled_ids=2,
        warnings=[warning],
        **by,
    )
    page = BeautifulSoup(staff.get(f"{LIST}{planned.pk}/change/").content, "html.parser")
    (item,) = page.select(".warnings li")
    assert " ".join(item.get_text().split()).startswith(said)
    if "PERMA-1" in item.get_text():
        assert item.select_one("a")["href"] == "/admin/perma_payments/subscriptionagreement/?q=PERMA-1"


def test_every_kind_of_warning_has_a_sentence():
    (cases,) = [mark for mark in test_each_warning_is_a_sentence.pytestmark if mark.name == "parametrize"]
    assert [kind for kind, _ in cases.args[1]] == list(WarningKind)


def test_every_serious_warning_has_words_for_its_tick():
    assert set(status_reports.TICKS) == SERIOUS


@pytest.mark.parametrize(("hopeless", "said"), [("old", "more than a day old"), ("not ours", "none of our")])
def test_a_preview_that_cannot_be_confirmed_offers_no_button(staff, hopeless, said):
    now = timezone.now() - timedelta(days=2 if hopeless == "old" else 0)
    rows = [(standing(1)[0] if hopeless == "old" else "ORDER-1", "HOLD")]
    pk = plan_report(report(*rows), by=User.objects.get(), now=now).pk

    page = staff.get(f"{LIST}{pk}/change/")
    assert b"/confirm/" not in page.content
    assert said in words(page)


# --- What is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "The file is empty. Download the list of subscriptions from the Business Center"),
        (b"%PDF-1.7", "this is a PDF file"),
        (b"a,b\n1,2\n", "None of the first 50 lines has the columns Merchant Reference Code and Status"),
        (b"x" * (20 * 1024 * 1024 + 1), "The file is larger than 20 MB, too large for a status report."),
    ],
)
def test_a_file_that_is_not_a_report_gets_a_sentence(upload, data, sentence):
    page = upload(data)

    assert page.status_code == 200
    errors = BeautifulSoup(page.content, "html.parser").select_one(".errorlist")
    assert errors is not None and sentence in errors.get_text()
    assert not StatusReport.objects.exists()


@pytest.mark.parametrize("posted", [{}, {"report": "not a file"}])
def test_no_file_gets_a_sentence(staff, posted):
    said = words(staff.post(f"{LIST}upload/", posted))
    assert "No file was chosen. Choose the CSV file that you downloaded" in said


def test_an_auditor_can_only_look(client, upload):
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


@pytest.mark.parametrize("action", ["confirm", "discard", "undo"])
def test_an_action_takes_post_and_permission(staff, upload, action):
    upload(report((standing(1)[0], "HOLD")))
    page = f"{LIST}{StatusReport.objects.get().pk}/"
    path = f"{page}{action}/"

    assert staff.get(path)["Location"] == f"{page}change/"
    User.objects.get().user_permissions.set(Permission.objects.filter(codename="upload_statusreport"))
    assert staff.post(path).status_code == 403


@pytest.mark.parametrize("path", ["999999/change/", "x/change/"])
def test_a_report_that_does_not_exist_is_a_404(staff, path):
    assert staff.get(LIST + path).status_code == 404


def test_a_preview_that_has_been_deleted_can_no_longer_be_confirmed(staff):
    response = staff.post(f"{LIST}999999/confirm/", {"revision": 1}, follow=True)
    assert "Nothing was changed: this preview was more than a day old." in words(response)
