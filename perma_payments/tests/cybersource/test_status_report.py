"""A status report's rows are read for what they mean; what could be read in two ways is not read."""

from collections import Counter
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import example, given, settings, strategies as st

from perma_payments.billing.coverage import ChargeNews
from perma_payments.billing.statuses import Status
from perma_payments.cybersource import status_report
from perma_payments.cybersource.csv_table import UnreadableFile
from perma_payments.cybersource.status_report import Duplicate, ParsedReport, ReportRow, UnreadRow, read_report

# The fixture of cybersource.md §8.3, letter by letter.
PUBLISHED = """\
Subscription Search Results
Merchant ID: example_merchant
Date: Mar 01 2025

Subscription ID,Merchant Reference Code,Customer Name,Amount,Currency,Status
7408214003316000001234,ORDER-1001,"Example, Erin",15.00,USD,CURRENT
7408214003316000005678,ORDER-1002,Sample Sam,20.00,USD,CANCELED
"""

HEADER = "Subscription ID,Merchant Reference Code,Customer Name,Status,Next Scheduled Date"
FIRST, SECOND = "7408214003316000001234", "7408214003316000005678"

# The first row's line in the reports of these tests.
LINE = 4

# A name that must not be found in anything said about a file.
NAME = "Zebedee"


def row(
    reference: str = "PERMA-1234-5678",
    status: str = "CURRENT",
    subscription_id: str = FIRST,
    name: str = "Example Erin",
    next_charge: str = "",
) -> str:
    return f"{subscription_id},{reference},{name},{status},{next_charge}"


def read(*rows: str, header: str = HEADER, date_line: str = "Date: Mar 01 2025") -> ParsedReport:
    return read_report("\r\n".join([date_line, "", header, *rows, ""]).encode())


def statuses(report: ParsedReport) -> dict[str, str]:
    return {each.reference_number: each.status for each in report.rows}


def why_unread(text: str) -> str:
    """Why the one row of a report is not read."""
    found = read(text)
    assert (found.rows, found.row_count) == ([], 1)
    (unread,) = found.unread
    assert unread.line == LINE
    return unread.why


def test_the_published_fixture_is_read():
    assert read_report(PUBLISHED.encode()) == ParsedReport(
        rows=[
            ReportRow(6, "ORDER-1001", Status.CURRENT, ChargeNews.PROVEN, FIRST, amount=Decimal("15.00")),
            ReportRow(7, "ORDER-1002", Status.CANCELED, ChargeNews.ENDED, SECOND, amount=Decimal("20.00")),
        ],
        duplicates=[],
        unread=[],
        row_count=2,
        spoiled_ids=0,
        unreadable_dates=0,
        unreadable_terms=0,
        made_on=date(2025, 3, 1),
    )


def test_a_report_needs_no_more_than_two_columns():
    found = read("PERMA-1234-5678,HOLD", header="Merchant Reference Code,Status")
    assert found.rows == [ReportRow(LINE, "PERMA-1234-5678", Status.HOLD, ChargeNews.FAILED)]


def test_a_header_alone_is_an_empty_report():
    assert (read().rows, read().unread, read().row_count) == ([], [], 0)


@pytest.mark.parametrize(
    "header",
    [
        "subscription_id,merchant_ref_number,customer_lastname,subscription_status,next_scheduled_date",
        "SubscriptionID,MerchantRefNo,LastName,SubscriptionStatus,NextScheduledDate",
        "Subscription ID,Merchant Reference Number,LAST_SUBSCRIPTION_STATUS,STATUS,Next Scheduled Date",
    ],
)
def test_columns_are_named_as_in_cybersources_reports(header):
    assert read(row(next_charge="2025-04-01"), header=header).rows == [
        ReportRow(LINE, "PERMA-1234-5678", Status.CURRENT, ChargeNews.PROVEN, FIRST, date(2025, 4, 1))
    ]


# --- What is charged ----------------------------------------------------------------------------------------


def charged(*cells: str, header: str = "Amount,Currency,Frequency") -> ParsedReport:
    return read(f"PERMA-1234-5678,CURRENT,{','.join(cells)}", header=f"Merchant Reference Code,Status,{header}")


@pytest.mark.parametrize(
    ("cell", "amount"),
    [
        ("90.00", "90.00"),
        ("90", "90.00"),
        ("90.5", "90.50"),
        ("90.0000", "90.00"),
        ("$90.00", "90.00"),
        ("$ 90.00 USD", "90.00"),
        ("USD 90.00", "90.00"),
        ('"1,200.00"', "1200.00"),
        ('"1,234,567"', "1234567.00"),
        ("0.00", "0.00"),
    ],
)
def test_an_amount_is_read(cell, amount):
    found = charged(cell, "USD", "monthly")
    assert ([row.amount for row in found.rows], found.unreadable_terms) == ([Decimal(amount)], 0)


@pytest.mark.parametrize(
    "cell", ["free", "-90.00", "90.001", '"90,00"', '"1,20.00"', "9e1", "90.00 EUR", "٩", "12345678901", "$"]
)
def test_an_amount_that_cannot_be_read_is_counted_and_changes_nothing_else(cell):
    found = charged(cell, "USD", "monthly")
    assert ([row.amount for row in found.rows], found.unreadable_terms) == ([None], 1)
    assert statuses(found) == {"PERMA-1234-5678": "Current"}


def test_an_amount_of_another_currency_is_not_read():
    found = charged("90.00", "EUR", "")
    assert (found.rows[0].amount, found.unreadable_terms) == (None, 1)


@pytest.mark.parametrize(
    ("cell", "frequency"),
    [
        ("monthly", "monthly"),
        ("MONTHLY", "monthly"),
        ("Annually", "annually"),
        ("Yearly", "annually"),
        ("semi annually", "semi-annually"),
        ("quad_weekly", "quad-weekly"),
    ],
)
def test_a_frequency_is_read(cell, frequency):
    found = charged("90.00", "USD", cell)
    assert ([row.frequency for row in found.rows], found.unreadable_terms) == ([frequency], 0)


def test_a_frequency_that_cannot_be_read_is_counted():
    found = charged("90.00", "USD", "on-demand")
    assert ([row.frequency for row in found.rows], found.unreadable_terms) == ([None], 1)


@pytest.mark.parametrize("header", ["Recurring Amount,x,y", "RecurringAmount,x,y", "recurring_payment_amount,x,y"])
def test_the_amount_is_found_by_each_of_its_names(header):
    assert charged("90.00", "", "", header=header).rows[0].amount == Decimal("90.00")


def test_of_two_amounts_neither_is_read():
    found = charged("90.00", "45.00", "monthly", header="Amount,Recurring Amount,Frequency")
    assert (found.rows[0].amount, found.rows[0].frequency, found.unreadable_terms) == (None, "monthly", 0)


@pytest.mark.parametrize(("second", "amount"), [("90.00", "90.00"), ("", "90.00"), ("45.00", None)])
def test_of_several_rows_that_count_the_amount_is_read_if_they_agree(second, amount):
    found = read(
        "PERMA-1234-5678,HOLD,90.00",
        f"PERMA-1234-5678,HOLD,{second}",
        header="Merchant Reference Code,Status,Amount",
    )
    assert found.rows[0].amount == (None if amount is None else Decimal(amount))


# --- Columns that are refused -------------------------------------------------------------------------------


def test_two_columns_that_could_be_the_status_are_refused():
    with pytest.raises(UnreadableFile, match="more than one Status column"):
        read("PERMA-1234-5678,CURRENT,HOLD", header="Merchant Reference Code,Status,Subscription Status")


@pytest.mark.parametrize("lacking", ["Merchant Reference Code", "Status"])
def test_a_report_without_a_required_column_is_refused(lacking):
    with pytest.raises(UnreadableFile, match=f"The header in line 3 has no column {lacking}."):
        read(row(), header=HEADER.replace(lacking, NAME))


@pytest.mark.parametrize("reference", ["ORDER-1001", "1", "perma-1234-5678", "Ordnung 7/é", "=1+1", "x" * 50])
def test_reference_numbers_of_others_are_read_too(reference):
    assert statuses(read(row(reference))) == {reference: Status.CURRENT}


# --- Statuses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "news"),
    [
        ("Current", "Current", "proven"),
        ("CURRENT", "Current", "proven"),
        ("Active", "Current", "proven"),
        ("retry", "Current", "failed"),
        ("HOLD", "Hold", "failed"),
        ("On Hold", "Hold", "failed"),
        ("ON_HOLD", "Hold", "failed"),
        ("Delinquent", "Hold", "failed"),
        ("SUSPENDED", "Hold", "nothing new"),
        ("Canceled", "Canceled", "ended"),
        ("CANCELLED", "Canceled", "ended"),
        ("completed", "Completed", "ended"),
        ("Superseded", "Superseded", "ended"),
    ],
)
def test_each_status_says_something_about_charges(name, status, news):
    (found,) = read(row(status=name)).rows
    assert (found.status, found.charge_news) == (status, news)


@pytest.mark.parametrize(
    ("cell", "name"), [("PENDING", "Pending"), ("created", "Created"), ("Failed", "Failed"), ("Retry mode",) * 2]
)
def test_an_unread_status_of_cybersource_is_named_and_counted(cell, name):
    assert why_unread(row(status=cell)) == f"We don't know what the status “{name}” means."
    assert read(row(status=cell), row(), row(status=cell)).unknown_statuses == {name: 2}


@pytest.mark.parametrize(
    "cell",
    [
        "Jane Doe",
        "DOE",
        "Pending Jane",
        "On ice",
        "erin@example.com",
        "4111111111111111",
        "a\x00b",
        "Zoë",
        "x" * 999,
    ],
)
def test_what_is_no_status_of_cybersource_is_withheld(cell):
    why = why_unread(row(status=cell))
    assert why.startswith("We don't know the status in this row. It isn't shown")
    assert read(row(status=cell), row(), row(status="Jim Roe")).unknown_statuses == {"(withheld)": 2}
    assert cell not in repr(read(row(status=cell)))


def test_a_row_without_a_status_is_not_read():
    assert why_unread(row(status=" ")) == "This row has no status."


@pytest.mark.parametrize("reference", ["", "  ", "'", '""'])
def test_a_row_without_a_reference_number_is_not_read(reference):
    assert why_unread(row(reference)) == "This row has no reference number."


@pytest.mark.parametrize("reference", ["x" * 51, "PERMA\x00-1234-5678", "PERMA-1234\x07-", '"PERMA-1234\n-5678"'])
def test_what_cannot_be_a_reference_number_is_not_read(reference):
    why = "The reference number in this row is not valid."
    assert why_unread(row(reference)) == why


def test_an_unread_row_among_a_thousand_is_named_with_its_line():
    rows = [row(f"PERMA-0000-{number:04}") for number in range(1000)]
    rows[700] = row("PERMA-0000-0700", "PENDING")
    found = read(*rows)

    assert len(found.rows) == 999
    why = "We don't know what the status “Pending” means."
    assert found.unread == [UnreadRow(LINE + 700, why, "PERMA-0000-0700", "Pending")]


def test_wherever_a_download_is_cut_off_no_row_is_misread():
    header = f"{HEADER}\r\n"
    whole = header + f"{row('PERMA-0000-0001', 'HOLD')}\r\n{row('PERMA-0000-0002', 'CANCELED')}"
    for length in range(len(header), len(whole)):
        found = read_report(whole[:length].encode())
        assert statuses(found).items() <= {("PERMA-0000-0001", "Hold"), ("PERMA-0000-0002", "Canceled")}
        assert len(found.unread) <= 1


def test_a_file_with_too_many_unread_rows_is_refused(monkeypatch):
    monkeypatch.setattr(status_report, "MAX_UNREAD_ROWS", 1)

    assert len(read(row(status="ON ICE")).unread) == 1
    with pytest.raises(UnreadableFile, match=r"More than 1 rows .* line 4: We don't know"):
        read(row(status="ON ICE"), row(status="ASLEEP"))


# --- Several rows for one reference number --------------------------------------------------------------


@pytest.mark.parametrize(
    ("living", "other"),
    [
        ("CURRENT", "HOLD"),
        ("CURRENT", "RETRY"),
        ("RETRY", "HOLD"),
        ("HOLD", "CANCELED"),
        ("SUSPENDED", "CANCELED"),
        ("CANCELED", "COMPLETED"),
        ("COMPLETED", "SUPERSEDED"),
    ],
)
@pytest.mark.parametrize("order", [1, -1], ids=["first", "last"])
def test_of_several_rows_the_living_one_counts(living, other, order):
    rows = [row(status=living, subscription_id=FIRST), row(status=other, subscription_id=SECOND)][::order]
    found = read(*rows)

    assert [each.subscription_id for each in found.rows] == [FIRST]
    names = [status_report.STATUSES[name.lower()][0] for name in (living, other)][::order]
    assert found.duplicates == [Duplicate("PERMA-1234-5678", (4, 5), tuple(names), found.rows[0].status)]
    assert found.row_count == 2


def test_every_status_of_a_report_has_its_place_among_several():
    assert set(status_report.LIVING_FIRST) == {status for status, _ in status_report.STATUSES.values()}


def test_identical_rows_are_duplicates():
    found = read(row(), row(), row())

    assert found.rows == [ReportRow(LINE, "PERMA-1234-5678", Status.CURRENT, ChargeNews.PROVEN, FIRST)]
    assert found.duplicates == [Duplicate("PERMA-1234-5678", (4, 5, 6), (Status.CURRENT,) * 3, Status.CURRENT)]


def test_of_two_living_subscriptions_neither_id_is_taken():
    found = read(row(subscription_id=FIRST), row(subscription_id=SECOND), row(status="SUPERSEDED"))
    assert [each.subscription_id for each in found.rows] == [""]


def test_a_row_without_an_id_takes_that_of_its_equal():
    found = read(row(subscription_id=""), row(subscription_id=FIRST))
    assert [each.subscription_id for each in found.rows] == [FIRST]


def test_of_two_equal_rows_with_different_dates_neither_counts():
    found = read(row(next_charge="2026-12-13"), row(next_charge="2026-12-20"))
    assert [each.next_charge_on for each in found.rows] == [None]


@pytest.mark.parametrize(
    "unread",
    [
        row(status="ON ICE"),
        row(status=""),
        ",".join(row().split(",")[:2]),
        row(name="Example, Erin"),
        f"a,{row()}",
        row(name='"E"e'),
        row('="PERMA-1234-5678"', name='"E"e'),
    ],
)
@pytest.mark.parametrize("order", [1, -1], ids=["last", "first"])
def test_an_unread_row_disqualifies_others_of_its_number(unread, order):
    rows = [row(status="SUPERSEDED"), row(status="CANCELED"), unread][::order]
    found = read(*rows, row("PERMA-0000-0002"))

    assert list(statuses(found)) == ["PERMA-0000-0002"]
    assert [each.line for each in found.unread] == [4, 5, 6]
    said = f"Line {6 if order == 1 else 4} has the same reference number, cannot be read, and may be the one"
    assert [each.reference_number for each in found.unread if said in each.why] == ["PERMA-1234-5678"] * 2
    assert found.duplicates == []


def test_nothing_outdoes_a_current_row():
    found = read(row(status="ON ICE"), row(status="SUPERSEDED"), row())

    assert statuses(found) == {"PERMA-1234-5678": Status.CURRENT}
    assert [each.line for each in found.unread] == [4]


# --- Subscription ids and dates -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        FIRST,
        "9903000000000017",
        "4000000000001234567",
        "0123456789ABCDEF0123456789abcdef",
        "7408214003316000001230",
        "7408214003316001000",
    ],
)
def test_subscription_ids_of_every_form_are_taken(form):
    found = read(row(subscription_id=form))
    assert (found.rows[0].subscription_id, found.spoiled_ids) == (form, 0)


@pytest.mark.parametrize(
    "spoiled",
    [
        "7.40821E+21",
        "7408214003316000000000",
        "7408214003316000000",
        "A1B2C3D4-0000-4000-8000-ABCDEF012345",
        "x" * 33,
        "٣" * 16,
        "1" * 15,
        "Featherstonehaugh",  # a name
    ],
)
def test_a_spoiled_subscription_id_is_left_out_and_counted(spoiled):
    found = read(row(subscription_id=spoiled), row("PERMA-0000-0002"))

    assert [each.subscription_id for each in found.rows] == ["", FIRST]
    assert (found.spoiled_ids, found.unread) == (1, [])


def test_an_absent_subscription_id_is_not_spoiled():
    assert read(row(subscription_id="")).spoiled_ids == 0


def test_a_report_shows_no_subscription_id_when_printed():
    assert FIRST not in repr(read(row()))


@pytest.mark.parametrize(
    "text", ["2026-12-13", "2026-12-13 18:43:28.0", "2026-12-13T18:43:28+08:00", " 2026-12-13 "]
)
def test_the_date_of_the_next_charge_is_read(text):
    found = read(row(next_charge=text))
    assert (found.rows[0].next_charge_on, found.unreadable_dates) == (date(2026, 12, 13), 0)


@pytest.mark.parametrize("text", ["12/13/2026", "2026-02-30", "soon", "46369"])
def test_a_date_that_cannot_be_read_is_left_out_and_counted(text):
    found = read(row("A", next_charge=text), row("B", next_charge=text), row("C"))
    assert [each.next_charge_on for each in found.rows] == [None] * 3
    assert (found.unreadable_dates, found.unread) == (2, [])


@pytest.mark.parametrize("text", ["2026-12-13", "soon"])
@pytest.mark.parametrize("status", ["RETRY", "HOLD", "CANCELED"])
def test_only_a_row_that_proves_a_charge_has_a_next_date(status, text):
    found = read(row(status=status, next_charge=text))
    assert (found.rows[0].next_charge_on, found.unreadable_dates) == (None, 0)


@pytest.mark.parametrize(
    "written",
    [
        "Date: Mar 01 2025",
        "Date,2025-03-01",
        "2025-03-01T10:15:00Z",
        "Mar 01 2025 10:15:00 AM",
        "Report,2025-02-30,2025-03-01",
        "2025-03-01 to 2025-03-01,,,,",
    ],
)
def test_a_date_above_the_header_is_read(written):
    assert read(row(), date_line=written).made_on == date(2025, 3, 1)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "03/01/2025",
        "01.03.2025",
        "2025-02-01 to 2025-03-01",
        "2025-02-30",
        "Xyz 01 2025",
        "Market 01 2025",
        "12025-03-01",
        "2025-03-012",
        "Mar 01 20251",
    ],
)
def test_a_date_that_could_be_another_is_not_read(written):
    assert read(row(), date_line=written).made_on is None


# --- Anything -------------------------------------------------------------------------------------------

ROWS = [
    HEADER,
    row(),
    row(status="SUPERSEDED"),
    row(status="?"),
    f"{row()},",
    "PERMA-1234-5678",
    '"',
    'x","y',
    ",,",
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(ROWS) | st.text(st.characters(codec="utf-8"), max_size=20), max_size=12))
@example([row(), row(status="HOLD"), "PERMA-1234-5678"])
def test_every_row_is_accounted_for_once(lines):
    found = read(*lines)

    counting = {each.reference_number for each in found.duplicates}
    rows = [each.line for each in found.rows if each.reference_number not in counting]
    in_lines = Counter([*rows, *(each.line for each in found.unread)])
    in_lines.update(line for each in found.duplicates for line in each.lines)
    assert set(in_lines.values()) <= {1}
    assert found.row_count == len(in_lines)


CELLS = [HEADER, row(name=NAME), ",".join([NAME] * 5), ",".join([NAME] * 6), f"{NAME},,{NAME},x,", f'"{NAME}']


@settings(deadline=None)
@given(st.lists(st.sampled_from(CELLS), max_size=10), st.sampled_from([HEADER, NAME, f"Status,{NAME}"]))
def test_names_are_never_quoted(rows, header):
    try:
        found = read(*rows, header=header)
    except UnreadableFile as refusal:
        assert NAME not in str(refusal)
    else:
        assert NAME not in "".join(each.why for each in found.unread)
