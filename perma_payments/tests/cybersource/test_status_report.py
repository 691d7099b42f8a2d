"""A status report is read however it is written, and what could be read wrongly is not read."""

import codecs
import io
import zipfile
from collections import Counter
from datetime import date

import pytest
from hypothesis import example, given, settings, strategies as st

from perma_payments.billing.coverage import ChargeNews
from perma_payments.billing.statuses import Status
from perma_payments.cybersource import status_report
from perma_payments.cybersource.status_report import Duplicate, Problem, Row, UnreadableReport, read_report

# The fixture of cybersource.md §8.3, letter by letter.
PUBLISHED = """\
Subscription Search Results
Merchant ID: example_merchant
Date: Mar 01 2025

Subscription ID,Merchant Reference Code,Customer Name,Amount,Currency,Status
7408214003316000001234,ORDER-1001,"Example, Erin",15.00,USD,CURRENT
7408214003316000005678,ORDER-1002,Sample Sam,20.00,USD,CANCELED
"""

PREAMBLE = ["Subscription Search Results", "Merchant ID: example_merchant", "Date: Mar 01 2025", ""]
HEADER = ["Subscription ID", "Merchant Reference Code", "Customer Name", "Status", "Next Date"]
FIRST, SECOND = "7408214003316000001234", "7408214003316000005678"
FIRST_LINE = len(PREAMBLE) + 2

# A name that must not be found in anything said about a file.
NAME = "Zebedee"


def row(reference="PERMA-1234-5678", status="CURRENT", subscription_id=FIRST, name="Example Erin"):
    return [subscription_id, reference, name, status, "Apr 01 2025"]


def report(*rows, preamble=PREAMBLE, header=HEADER, delimiter=",", end="\r\n", encoding="utf-8", trailer=()):
    """A valid file, written plainly; whoever wants a quoted cell quotes it."""
    lines = [*preamble, delimiter.join(header), *(delimiter.join(cells) for cells in rows), *trailer]
    return "".join(line + end for line in lines).encode(encoding)


def read(*rows, **how):
    return read_report(report(*rows, **how))


NEWS = {Status.CURRENT: ChargeNews.PROVEN, Status.HOLD: ChargeNews.FAILED}


def kept(line, reference_number, status, subscription_id):
    """What is kept of a row whose status has its usual name."""
    return Row(line, reference_number, status, NEWS.get(status, ChargeNews.ENDED), subscription_id)


def statuses(found):
    return {each.reference_number: each.status for each in found.rows}


def why_unreadable(data, **options):
    with pytest.raises(UnreadableReport) as caught:
        read_report(data, **options)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text
    return text


def problem_of(*cells, **how):
    """The one problem of a file with one row."""
    found = read(list(cells), **how)
    assert (found.rows, found.row_count, len(found.problems)) == ([], 1, 1)
    assert found.problems[0].line == FIRST_LINE
    assert found.problems[0].why.endswith(".")
    return found.problems[0].why


# --- A valid report ---------------------------------------------------------------------------------


def test_the_published_fixture_is_read():
    found = read_report(PUBLISHED.encode())
    assert found.rows == [
        kept(6, "ORDER-1001", Status.CURRENT, "7408214003316000001234"),
        kept(7, "ORDER-1002", Status.CANCELED, "7408214003316000005678"),
    ]
    assert (found.problems, found.duplicates, found.unknown_statuses, found.spoilt_ids) == ([], [], {}, 0)
    assert found.row_count == 2
    assert found.made_on == date(2025, 3, 1)


def test_a_report_needs_no_more_than_two_columns():
    found = read(["PERMA-1234-5678", "HOLD"], header=["Merchant Reference Code", "Status"])
    assert found.rows == [kept(FIRST_LINE, "PERMA-1234-5678", Status.HOLD, "")]


def test_a_header_alone_is_an_empty_report():
    found = read()
    assert (found.rows, found.problems, found.row_count) == ([], [], 0)


def test_the_last_line_needs_no_end():
    assert statuses(read_report(report(row()).removesuffix(b"\r\n"))) == {"PERMA-1234-5678": Status.CURRENT}


@pytest.mark.parametrize("reference", ["ORDER-1001", "1", "perma-1234-5678", "Ordnung 7/é", "=1+1", "x" * 50])
def test_reference_numbers_of_others_are_rows_all_the_same(reference):
    assert statuses(read(row(reference))) == {reference: Status.CURRENT}


# --- The header -------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [0, 1, 2, 4, 49])
def test_the_header_is_found_wherever_it_stands(lines):
    found = read(row(), preamble=["Some, text"] * lines)
    assert [each.line for each in found.rows] == [lines + 2]


def test_the_header_is_not_looked_for_without_end():
    text = why_unreadable(report(row(), preamble=["Some text"] * 50))
    assert "none of the first 50 lines" in text


def test_stray_quotes_above_the_header_do_not_hide_it():
    found = read(row(), preamble=['"All" subscriptions', 'from "here', '"an open quote', ""])
    assert [each.line for each in found.rows] == [FIRST_LINE]


def test_a_header_with_wrong_quotes_is_none():
    assert "none of the first" in why_unreadable(report(row(), header=['"Subscription" ID', *HEADER[1:]]))


def test_a_filter_repeated_above_the_header_is_not_the_header():
    found = read(row(), preamble=["Merchant Reference Code:,,Status:,All", "Status,All"])
    assert [each.line for each in found.rows] == [4]


@pytest.mark.parametrize(
    ("column", "name"),
    [
        *(("Subscription ID", name) for name in ("SubscriptionID", "subscription_id", "SUBSCRIPTION ID")),
        *(
            ("Merchant Reference Code", name)
            for name in (
                "MERCHANT REFERENCE CODE",
                "merchant reference code",
                "Merchant Reference Number",
                "merchant_ref_number",
                "MerchantRefNo",
                "MerchantReferenceCode",
                "  Merchant  Reference Code ",
                '"Merchant Reference Code"',
                "'Merchant Reference Code",
                '="Merchant Reference Code"',
            )
        ),
        *(
            ("Status", name)
            for name in ("STATUS", "Subscription Status", "subscription_status", "SubscriptionStatus")
        ),
    ],
)
def test_columns_are_found_by_any_of_their_names(column, name):
    found = read(row(), header=[name if each == column else each for each in HEADER])
    assert found.rows == [kept(FIRST_LINE, "PERMA-1234-5678", Status.CURRENT, FIRST)]


@pytest.mark.parametrize("last", ["Last Status", "last_subscription_status", "LastSubscriptionStatus"])
@pytest.mark.parametrize("now", ["Status", "subscription_status", "SubscriptionStatus"])
@pytest.mark.parametrize("last_comes_first", [True, False])
def test_the_last_status_is_not_taken_for_the_status(last, now, last_comes_first):
    header, cells = ["Merchant Reference Code", last, now], ["PERMA-1234-5678", "CURRENT", "HOLD"]
    if not last_comes_first:
        header[1:], cells[1:] = header[:0:-1], cells[:0:-1]
    assert statuses(read(cells, header=header)) == {"PERMA-1234-5678": Status.HOLD}


def test_the_status_of_the_subscription_goes_before_any_other_status():
    found = read(
        ["FAILED", "PERMA-1234-5678", "HOLD"], header=["Status", "Merchant Reference Code", "Subscription Status"]
    )
    assert statuses(found) == {"PERMA-1234-5678": Status.HOLD}


@pytest.mark.parametrize("name", ["Status", "Merchant Reference Code", "Subscription ID"])
def test_a_column_that_is_there_twice_is_refused(name):
    assert "two columns" in why_unreadable(report([*row(), "x"], header=[*HEADER, name]))


@pytest.mark.parametrize(
    "absent, said",
    [
        ("Status", "line 5 has a column of reference numbers, but no column Status"),
        ("Merchant Reference Code", "line 5 has a column of statuses, but no column Merchant Reference Code"),
    ],
)
def test_a_missing_column_is_named(absent, said):
    header = [NAME if name == absent else name for name in HEADER]
    text = why_unreadable(report(row(name=NAME), header=header))
    assert said in text
    assert "as CSV" in text
    assert NAME not in text


def test_the_header_of_a_further_page_is_no_row():
    found = read(row(), HEADER, row("PERMA-0000-0002"))
    assert (len(found.rows), found.problems, found.row_count) == (2, [], 2)


# --- How it is written ------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "mark, encoding",
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (b"", "utf-16-le"),
        (b"", "utf-16-be"),
        (b"", "cp1252"),
        (b"", "mac-roman"),
    ],
)
def test_delimiters_line_ends_and_encodings_are_found_out(delimiter, end, mark, encoding):
    rows = [row(name=f'"Müller{delimiter} É."'), row("PERMA-0000-0002", "HOLD", SECOND)]
    found = read_report(mark + report(*rows, delimiter=delimiter, end=end, encoding=encoding))
    assert found.rows == [
        kept(6, "PERMA-1234-5678", Status.CURRENT, FIRST),
        kept(7, "PERMA-0000-0002", Status.HOLD, SECOND),
    ]
    assert found.problems == []


@pytest.mark.parametrize(
    "written",
    [
        "{}",
        '"{}"',
        "  {}  ",
        '  "{}"  ',
        '" {} "',
        "'{}",
        '="{}"',
        '"=""{}"""',
        ' ="{}" ',
        '="\'{}"',
        "\xa0{}",
        "{}\x00",
    ],
)
def test_wrappers_and_blanks_come_off(written):
    cells = [written.format(FIRST), written.format("PERMA-1234-5678"), "x", written.format("CURRENT"), "y"]
    assert read(cells).rows == [kept(FIRST_LINE, "PERMA-1234-5678", Status.CURRENT, FIRST)]


@pytest.mark.parametrize(
    "name",
    [
        '"Example, Erin"',
        '"Erin ""the"" Example"',
        '"two\r\nlines"',
        '"a\rb\nc"',
        '"x"", ""y"',
        '"a "" , b"',
        'Erin "E"',
        "",
        "\x0b\x1c\x85\u2028",
        "NUL\x00",
    ],
)
def test_what_other_cells_hold_does_not_matter(name):
    found = read(row(name=name), row("PERMA-0000-0002"))
    assert list(statuses(found)) == ["PERMA-1234-5678", "PERMA-0000-0002"]
    assert found.problems == []


def test_lines_are_numbered_as_an_editor_does():
    found = read(
        row(),
        row("PERMA-0000-0002", name='"over\nthree\nlines"'),
        row("PERMA-0000-0003"),
        [""],
        row("PERMA-0000-0004"),
        row("PERMA-0000-0005", "WITHHELD"),
        end="\n",
    )
    assert [each.line for each in found.rows] == [6, 7, 10, 12]
    assert [each.line for each in found.problems] == [13]


@pytest.mark.parametrize("blank", ["", "   ", ",,,,", " , ,,,", '"",,,,', "\x1a", "\ufeff", "\x00\x00"])
def test_blank_rows_are_no_rows(blank):
    found = read([blank], row(), [blank], [blank])
    assert (len(found.rows), found.problems, found.row_count) == (1, [], 1)


@pytest.mark.parametrize(
    "trailer",
    [
        "Total: 123",
        "Total,123",
        "Total,,,,123",
        "TOTAL:,123",
        "Grand Total: 1",
        "Total: 1,234",
        '"Total: 1,234",,,,',
        "Number of subscriptions: 3",
        "Count: 3",
        "Count,3",
        "3 records",
        "1,234 rows",
        "Records: 3",
        "End of report",
        "Page 1 of 2",
    ],
)
def test_trailers_are_no_rows(trailer):
    found = read(row(), trailer=["", trailer])
    assert (len(found.rows), found.problems, found.row_count) == (1, [], 1)


@pytest.mark.parametrize(
    "cells", [["Total", "1", "2"], ["Total Example", "PERMA-1234-5678", "x", "WITHHELD", "y"]]
)
def test_a_row_that_begins_like_a_trailer_is_a_row(cells):
    problem_of(*cells)


@pytest.mark.parametrize(
    "header, cells", [([*HEADER, ""], row()), (HEADER, [*row(), ""]), ([*HEADER, "", " "], [*row(), "", " "])]
)
def test_rows_or_the_header_may_end_with_a_delimiter(header, cells):
    found = read(cells, cells, header=header)
    assert statuses(found) == {"PERMA-1234-5678": Status.CURRENT}
    assert found.problems == []


@pytest.mark.parametrize("shifted", [[*row(name="Example, Erin")[:4], ""], ["", *row("", "x")[1:], ""]])
def test_a_first_row_that_is_shifted_does_not_pass_for_one_that_ends_with_a_delimiter(shifted):
    found = read(shifted, row())
    assert [each.line for each in found.rows] == [FIRST_LINE + 1]
    assert found.problems == [
        Problem(
            FIRST_LINE, "This row has 6 cells where 5 are expected: one of them may stand in the wrong column."
        )
    ]


def test_nuls_after_the_end_do_not_make_a_report_utf_16():
    found = read_report(report(row()) + bytes(4096))
    assert (len(found.rows), found.problems) == (1, [])


# --- Statuses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written, status",
    [
        ("Current", Status.CURRENT),
        ("CURRENT", Status.CURRENT),
        ("current", Status.CURRENT),
        ("Active", Status.CURRENT),
        ("retry", Status.CURRENT),
        ("Hold", Status.HOLD),
        ("HOLD", Status.HOLD),
        ("On Hold", Status.HOLD),
        ("ON_HOLD", Status.HOLD),
        ("on-hold", Status.HOLD),
        ("SUSPENDED", Status.HOLD),
        ("Delinquent", Status.HOLD),
        ("Canceled", Status.CANCELED),
        ("CANCELED", Status.CANCELED),
        ("Cancelled", Status.CANCELED),
        ("CANCELLED", Status.CANCELED),
        ("cancelled", Status.CANCELED),
        ("Completed", Status.COMPLETED),
        ("COMPLETED", Status.COMPLETED),
        ("superseded", Status.SUPERSEDED),
    ],
)
def test_every_name_of_a_status_is_known(written, status):
    assert statuses(read(row(status=written))) == {"PERMA-1234-5678": status}


@pytest.mark.parametrize("written", ["PENDING", "Created", "failed"])
def test_a_status_that_says_nothing_of_a_subscription_that_ran_is_a_problem(written):
    assert f"“{written}” is a status of CyberSource's newer service" in problem_of(*row(status=written))


@pytest.mark.parametrize(
    "written, quoted",
    [
        ("Frozen", "“Frozen”"),
        (" 'FROZEN", "“FROZEN”"),
        ("x" * 30, f"“{'x' * 30}”"),
        ("x" * 31, f"“{'x' * 29}…”"),
        ("Cancellation Requested", "“Cancellation Requested”"),
        ("Rejected", "“Rejected”"),
    ],
)
def test_an_unknown_status_is_a_problem_and_quoted(written, quoted):
    assert problem_of(*row(status=written)) == f"{quoted} is not a status that we know."


@pytest.mark.parametrize(
    "written", ["erin@example.com", "4111111111111111", "a\x00b", "a\x07b", "12 Main St 02138"]
)
def test_what_cannot_be_a_status_is_not_quoted(written):
    assert problem_of(*row(status=written)) == "What this row has in the column Status cannot be a status."


def test_a_row_without_a_status_is_a_problem():
    assert problem_of(*row(status="")) == "This row has no status."


def test_unknown_statuses_are_counted():
    found = read(
        row("A", "Frozen"),
        row("B", "Frozen"),
        row("C", "PAUSED"),
        row("D", "Pending"),
        row("E", "x@y"),
        row("F", ""),
    )
    assert found.unknown_statuses == {"Frozen": 2, "PAUSED": 1}
    assert [each.line for each in found.problems] == [6, 7, 8, 9, 10, 11]


def test_an_unknown_status_among_a_thousand_good_rows_is_named_with_its_line():
    rows = [row(f"PERMA-0000-{number:04}") for number in range(1000)]
    rows[700][3] = "ON ICE"
    found = read(*rows)
    assert len(found.rows) == 999
    assert found.problems == [
        Problem(FIRST_LINE + 700, "“ON ICE” is not a status that we know.", "PERMA-0000-0700")
    ]


# --- Rows that cannot be read -----------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["", "  ", "'", '""', "\x00"])
def test_a_row_without_a_reference_number_is_a_problem(reference):
    assert problem_of(*row(reference)) == "This row has no reference number."


@pytest.mark.parametrize("reference", ["x" * 51, "PERMA\x00-1234-5678", "PERMA-1234\x07", '"PERMA-1234\n-5678"'])
def test_what_cannot_be_a_reference_number_is_a_problem(reference):
    assert "cannot be one" in problem_of(*row(reference))


def test_a_longer_row_is_a_problem():
    why = problem_of(*row(name=f"Example, {NAME}"))
    assert why == "This row has 6 cells where 5 are expected: one of them may stand in the wrong column."


def test_a_longer_row_is_a_problem_even_if_its_last_cell_is_blank():
    found = read(row(), [*row("PERMA-0000-0002"), ""])
    assert [each.line for each in found.problems] == [FIRST_LINE + 1]


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_a_shorter_row_is_a_problem(length):
    why = problem_of(*row()[:length])
    assert why == f"This row has {length} cell{'s' * (length > 1)} where 5 are expected: it is incomplete."


def test_wherever_a_download_is_cut_off_no_row_is_misread():
    whole = report(row("PERMA-0000-0001", "HOLD"), row("PERMA-0000-0002", "CANCELED"))
    expected = {"PERMA-0000-0001": Status.HOLD, "PERMA-0000-0002": Status.CANCELED}
    beginning = len(report())
    for length in range(beginning, len(whole)):
        found = read_report(whole[:length])
        assert statuses(found).items() <= expected.items()
        assert len(found.problems) <= 1


@pytest.mark.parametrize("name", ['"Joe" Smith', f'"{NAME}', '"Smith, "Joe""', '"a""', '"""'])
def test_wrong_quotes_cost_no_row_but_their_own(name):
    others = [row(f"PERMA-0000-{number:04}", name='"Sample, Sam"') for number in range(100)]
    found = read(*others[:50], row(name=name), *others[50:])
    assert list(statuses(found)) == [cells[1] for cells in others]
    assert found.problems == [
        Problem(FIRST_LINE + 50, "The quotes in this row are wrong, so its cells cannot be told apart.")
    ]


def test_a_quote_that_is_never_closed_costs_no_row_but_its_own():
    rows = [row(f"PERMA-0000-{number:04}") for number in range(200)]
    found = read(row(name='"open'), *rows)
    assert (len(found.rows), [each.line for each in found.problems]) == (200, [FIRST_LINE])


def test_a_cell_too_large_for_the_csv_module_is_a_problem():
    large = '"' + ("x" * 60_000 + "\n") * 3 + '"'
    found = read(row(), row("PERMA-0000-0002", name=large), row("PERMA-0000-0003"))
    assert list(statuses(found)) == ["PERMA-1234-5678", "PERMA-0000-0003"]
    assert found.problems[0].line == FIRST_LINE + 1


@pytest.mark.parametrize("line_ends, rows", [(0, 2), (49, 2), (50, 1)])
def test_a_row_has_a_bounded_number_of_lines(line_ends, rows):
    found = read(row(name='"' + "x\n" * line_ends + '"'), row("PERMA-0000-0002"), end="\n")
    assert len(found.rows) == rows


# --- Several rows for one reference number ----------------------------------------------------------


@pytest.mark.parametrize(
    "living, other",
    [
        (living, other)
        for place, living in enumerate(status_report.LIVING_FIRST)
        for other in status_report.LIVING_FIRST[place + 1 :]
    ],
)
@pytest.mark.parametrize("living_comes_first", [True, False])
def test_of_several_rows_the_living_one_counts(living, other, living_comes_first):
    rows = [row(status=living, subscription_id=FIRST), row(status=other, subscription_id=SECOND)]
    found = read(*rows if living_comes_first else rows[::-1])
    line = FIRST_LINE if living_comes_first else FIRST_LINE + 1
    assert found.rows == [kept(line, "PERMA-1234-5678", living, FIRST)]
    assert found.duplicates == [
        Duplicate(
            "PERMA-1234-5678",
            (FIRST_LINE, FIRST_LINE + 1),
            (living, other) if living_comes_first else (other, living),
            living,
        )
    ]
    assert found.row_count == 2


def test_every_status_of_a_report_has_its_place_among_several():
    assert set(status_report.LIVING_FIRST) == {status for status, _ in status_report.STATUSES.values()}


def test_identical_rows_are_duplicates():
    found = read(row(), row(), row())
    assert found.rows == [kept(FIRST_LINE, "PERMA-1234-5678", Status.CURRENT, FIRST)]
    assert found.duplicates == [Duplicate("PERMA-1234-5678", (6, 7, 8), (Status.CURRENT,) * 3, Status.CURRENT)]


def test_rows_and_duplicates_are_in_the_order_of_lines():
    found = read(row("A", "SUPERSEDED"), row("B", "HOLD"), row("C", "HOLD"), row("B", "HOLD"), row("A", "CURRENT"))
    assert [(each.reference_number, each.line) for each in found.rows] == [("B", 7), ("C", 8), ("A", 10)]
    assert [each.lines for each in found.duplicates] == [(6, 10), (7, 9)]


def test_of_two_living_subscriptions_neither_id_is_taken():
    found = read(row(subscription_id=FIRST), row(subscription_id=SECOND), row(status="SUPERSEDED"))
    assert found.rows == [kept(FIRST_LINE, "PERMA-1234-5678", Status.CURRENT, "")]


def test_a_row_without_an_id_takes_that_of_its_equal():
    found = read(row(subscription_id=""), row(subscription_id=FIRST))
    assert found.rows == [kept(FIRST_LINE, "PERMA-1234-5678", Status.CURRENT, FIRST)]


@pytest.mark.parametrize(
    "unread",
    [
        row(status="ON ICE"),
        row()[:4],
        row()[:2],
        row(name="Example, Erin"),
        ["a", *row()],
        row(name='"E"e'),
        ["a", *row('"PERMA-1234-5678"', name='"E"e')],
    ],
)
@pytest.mark.parametrize("unread_comes_first", [True, False])
def test_a_row_does_not_count_while_another_of_its_reference_number_cannot_be_read(unread, unread_comes_first):
    rows = [row(status="SUPERSEDED"), row(status="CANCELED"), unread]
    found = read(*rows[::-1] if unread_comes_first else rows, row("PERMA-0000-0002"))
    assert list(statuses(found)) == ["PERMA-0000-0002"]
    assert [each.line for each in found.problems] == [6, 7, 8]
    assert sum("may be the one that counts" in each.why for each in found.problems) == 2
    assert found.duplicates == []


def test_nothing_outdoes_a_current_row():
    found = read(row(status="ON ICE"), row(status="SUPERSEDED"), row())
    assert statuses(found) == {"PERMA-1234-5678": Status.CURRENT}
    assert [each.line for each in found.problems] == [FIRST_LINE]


# --- Subscription ids -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        FIRST,
        "9903000000000017",
        "4000000000001234567",
        "0123456789ABCDEF0123456789ABCDEF",
        "7408214003316000001230",
    ],
)
def test_subscription_ids_of_every_form_are_taken(form):
    found = read(row(subscription_id=form))
    assert (found.rows[0].subscription_id, found.spoilt_ids) == (form, 0)


@pytest.mark.parametrize(
    "spoilt",
    [
        "7.40821E+21",
        "7E+21",
        "7408214003316000000000",
        "A1B2C3D4-0000-4000-8000-ABCDEF012345",
        "x" * 33,
        "٣٣٣",
        "ABCDEFG",
        "1" * 15,
    ],
)
def test_a_spoilt_subscription_id_is_left_out_and_counted(spoilt):
    found = read(row(subscription_id=spoilt), row("PERMA-0000-0002"))
    assert [each.subscription_id for each in found.rows] == ["", FIRST]
    assert (found.spoilt_ids, found.problems) == (1, [])


def test_an_absent_subscription_id_is_not_spoilt():
    assert read(row(subscription_id="")).spoilt_ids == 0


def test_a_report_shows_no_subscription_id_when_printed():
    assert FIRST not in repr(read(row()))


# --- The date ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "Date: Mar 01 2025",
        "Mar 1 2025",
        "March 1, 2025",
        '"Date","Mar 01, 2025"',
        "MAR 01 2025 10:15:00 AM",
        "Date,2025-03-01",
        "2025/03/01",
        "2025-03-01T10:15:00Z",
        "1 March 2025",
        "01-Mar-2025",
        "1st March 2025",
        "March 1st, 2025",
        "2025-03-01 to 2025-03-01",
        "Report,2025-02-30,2025-03-01",
    ],
)
def test_a_date_above_the_header_is_read(written):
    assert read(row(), preamble=["Search results", written]).made_on == date(2025, 3, 1)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "03/01/2025",
        "01.03.2025",
        "2025-02-01 to 2025-03-01",
        "2025-02-30",
        "Marketing 01 2025",
        "Mar 2025",
        "20250301",
        "12025-03-01",
        "2025-03-012",
        "2025-03/01",
    ],
)
def test_a_date_that_could_be_another_is_not_read(written):
    assert read(row(), preamble=["Search results", written]).made_on is None


def test_dates_of_the_rows_are_not_the_reports():
    assert read(row(), preamble=[]).made_on is None


# --- What is no report ------------------------------------------------------------------------------


def archive(*names):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:  # not compressed: the table can be seen in its bytes
        for name in names:
            opened.writestr(name, report(row()))
    return packed.getvalue()


@pytest.mark.parametrize(
    "data, said",
    [
        (b"", "is empty"),
        (b"\r\n  \r\n", "is empty"),
        (codecs.BOM_UTF8, "is empty"),
        (codecs.BOM_UTF16_LE, "is empty"),
        (b"\x00" * 100, "is empty"),
        (b"%PDF-1.7\n" + report(row()), "this is a PDF file"),
        (archive("[Content_Types].xml", "xl/workbook.xml"), "this is a spreadsheet file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "this is a spreadsheet file"),
        (archive("report.csv"), "this is a ZIP archive. Unpack it"),
        (b"\x1f\x8b\x08" + bytes(range(256)), "this is a compressed file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "this is no text file"),
        (b"<!DOCTYPE html><title>Log in</title>", "Log in again"),
        (b"\n\n <HTML lang=en>", "Log in again"),
        (b'<?xml version="1.0"?><html>', "Log in again"),
        (codecs.BOM_UTF8 + b"<!doctype HTML>", "Log in again"),
        ("<html>".encode("utf-16"), "Log in again"),
        (b'<?xml version="1.0"?><Report/>', "this is an XML file"),
        (b"x" * 100_000, "Line 1 is longer"),
        (report(row(), row(name="x" * 70_000)), "Line 7 is longer"),
        (b"{}", "has a row with the columns Merchant Reference Code and Status"),
        (report(row(), delimiter="|"), "has a row with the columns"),
    ],
)
def test_what_is_no_report_is_refused_in_words(data, said):
    assert said in why_unreadable(data)


def test_a_file_that_is_too_large_is_refused():
    text = why_unreadable(b"x" * (status_report.MAX_BYTES + 600_000))
    assert "has 20.6 MB" in text and "up to 20 MB" in text


def test_a_file_of_just_the_largest_size_is_read():
    data = report(row())
    assert len(read_report(data, max_bytes=len(data)).rows) == 1
    assert "MB" in why_unreadable(data, max_bytes=len(data) - 1)


@pytest.mark.parametrize(
    "bound, said",
    [
        (
            "MAX_PROBLEMS",
            "More than 1 rows cannot be read, so this may be another kind of report. The first of them "
            "is line 6: “ON ICE” is not a status that we know.",
        ),
        ("MAX_ROWS", "more than 1 rows"),
        ("MAX_LINES", "more than 1 lines"),
    ],
)
def test_time_and_memory_have_a_bound(monkeypatch, bound, said):
    monkeypatch.setattr(status_report, bound, 1)
    rows = {"MAX_PROBLEMS": [row(status="ON ICE")] * 2}.get(bound, [row("A"), row("B")])
    assert said in why_unreadable(report(*rows))


# --- Anything ---------------------------------------------------------------------------------------

PIECES = [
    *(
        ",".join(cells).encode()
        for cells in [HEADER, row(), row(status="SUPERSEDED"), row(status="?"), [*row(), ""], row()[:3]]
    ),
    b'"',
    b'x","y',
    b"Total: 1",
    b",,,,",
    b"",
    b"\x00",
]
ANY_LINES = st.builds(
    lambda lines, end: end.join(lines),
    st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=12),
    st.sampled_from([b"\n", b"\r\n", b"\r", b'"\n']),
)


@settings(deadline=None)
@given(st.one_of(st.binary(), ANY_LINES, st.text().map(lambda text: text.encode("utf-16-le", "replace"))))
@example(report(row()).replace(b"\r", b"\x00"))
@example(report(row(), encoding="utf-16") + b"\x00")
@example(report(row(), encoding="utf-32"))
@example(report(row(), encoding="utf-16-le") + b"\x00\xd8")
def test_any_bytes_are_a_report_or_refused(data):
    try:
        found = read_report(data)
    except UnreadableReport:
        return
    # Every row found is accounted for, once.
    lines = Counter(each.line for each in [*found.rows, *found.problems])
    lines.update(line for each in found.duplicates for line in each.lines)
    lines.subtract(
        each.line
        for each in found.rows
        if each.reference_number in {duplicate.reference_number for duplicate in found.duplicates}
    )
    assert set(lines.values()) <= {1}
    assert found.row_count == len(lines)
    assert [each.line for each in found.problems] == sorted(each.line for each in found.problems)
    assert all(each.reference_number.isprintable() for each in found.rows)


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [HEADER, row(name=NAME), [NAME] * 5, [NAME] * 6, row(NAME, "", NAME, NAME), [f'"{NAME}']]
            ),
            st.lists(st.sampled_from([NAME, "Status", "x", "", f'"{NAME}']), max_size=6),
        ),
        max_size=10,
    ),
    st.booleans(),
)
def test_names_are_never_quoted(rows, with_header):
    rows = [[cell if place != 3 else "x" for place, cell in enumerate(cells)] for cells in rows]
    try:
        found = read(*rows, header=["Merchant Reference Code", "a", "b", "Status", "c"] if with_header else [NAME])
    except UnreadableReport as refusal:
        assert NAME not in str(refusal)
    else:
        assert NAME not in "".join(each.why for each in found.problems)


# --- There and back ---------------------------------------------------------------------------------

SPELLINGS = {
    (Status.CURRENT, ChargeNews.PROVEN): ["Current", "ACTIVE"],
    (Status.CURRENT, ChargeNews.FAILED): ["retry"],
    (Status.HOLD, ChargeNews.FAILED): ["HOLD", "On Hold", "Delinquent"],
    (Status.HOLD, ChargeNews.NOTHING): ["suspended"],
    (Status.CANCELED, ChargeNews.ENDED): ["CANCELED", "Cancelled"],
    (Status.COMPLETED, ChargeNews.ENDED): ["completed"],
    (Status.SUPERSEDED, ChargeNews.ENDED): ["Superseded"],
}
AWKWARD = st.sampled_from("\",;\t\n\r'= ")
LATIN = st.text(st.characters(max_codepoint=0xFF, blacklist_categories=["Cc"]) | AWKWARD, max_size=20)
ANY_TEXT = st.text(st.characters(blacklist_categories=["Cs"]) | AWKWARD, max_size=20)
ENCODINGS = {
    "utf-8": (b"", ANY_TEXT),
    "utf-8-sig": (b"", ANY_TEXT),
    "utf-16": (b"", ANY_TEXT),
    "utf-16-be": (codecs.BOM_UTF16_BE, ANY_TEXT),
    "utf-16-le": (b"", LATIN),
    "latin-1": (b"", LATIN),
}


def quoted(cell, delimiter, quote_all):
    # Blanks at the beginning are quoted too: a reader may skip them and find a quote.
    if quote_all or any(character in cell for character in [delimiter, '"', "\r", "\n"]) or cell != cell.strip():
        return '"' + cell.replace('"', '""') + '"'
    return cell


@st.composite
def written_reports(draw):
    """The rows of a report, and the report in any of the ways in which it could be written."""
    encoding = draw(st.sampled_from(list(ENCODINGS)))
    mark, text = ENCODINGS[encoding]
    delimiter, end = draw(st.sampled_from(",;\t")), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    quote_all, spaces = draw(st.booleans()), draw(st.sampled_from(["", " ", "  "]))
    reference_numbers = st.from_regex(r"(PERMA-[0-9]{4}-[0-9]{4}|[A-Z][A-Z0-9_./-]{0,40})", fullmatch=True)
    references = draw(st.lists(reference_numbers, unique=True, max_size=6))
    columns = draw(
        st.permutations(
            [
                draw(st.sampled_from(["Merchant Reference Code", "merchant_ref_number", "MERCHANTREFNO"])),
                draw(st.sampled_from(["Status", "subscription_status", "SUBSCRIPTIONSTATUS"])),
                draw(st.sampled_from(["Subscription ID", "SubscriptionID"])),
                "Customer Name",
                "Last Status",
            ]
        )
    )

    lines = draw(st.sampled_from([[], PREAMBLE, ["Report", "", 'with "quotes" in it']]))[:]
    lines.append(delimiter.join(quoted(name, delimiter, quote_all) for name in columns))
    number = len(lines)
    rows = []
    for reference in references:
        status, news = draw(st.sampled_from(list(SPELLINGS)))
        subscription_id = draw(st.from_regex("[0-9]{21}[1-9]", fullmatch=True))
        wrap = draw(st.sampled_from(["{}", '="{}"', "'{}", " {} "]))
        cells = []
        for column in columns:
            name = column.lower().replace(" ", "").replace("_", "")
            if name in ("status", "subscriptionstatus"):
                cells.append(wrap.format(draw(st.sampled_from(SPELLINGS[status, news]))))
            elif name == "subscriptionid":
                cells.append(wrap.format(subscription_id))
            elif name.startswith("merchant"):
                cells.append(wrap.format(reference))
            elif name == "laststatus":
                cells.append(draw(st.sampled_from(["CURRENT", "HOLD", ""])))
            else:
                cells.append(draw(text))
        for _ in range(draw(st.integers(0, 2))):
            lines.append(draw(st.sampled_from(["", delimiter * 4])))
            number += 1
        line = delimiter.join(spaces + quoted(cell, delimiter, quote_all) + spaces for cell in cells)
        rows.append(Row(number + 1, reference, status, news, subscription_id))
        number += len((line + end).replace("\r\n", "\n").replace("\r", "\n").split("\n")) - 1
        lines.append(line)
    if draw(st.booleans()):
        lines.append(f"Total: {len(rows)}")
    return rows, mark + "".join(line + end for line in lines).encode(encoding)


@settings(deadline=None)
@given(written_reports())
def test_what_was_written_is_read(written):
    rows, data = written
    found = read_report(data)
    assert found.rows == rows
    assert (found.problems, found.duplicates, found.row_count) == ([], [], len(rows))


# --- Charges ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, status, news",
    [
        ("CURRENT", "Current", "proven"),
        ("Active", "Current", "proven"),
        ("RETRY", "Current", "failed"),
        ("HOLD", "Hold", "failed"),
        ("On Hold", "Hold", "failed"),
        ("Delinquent", "Hold", "failed"),
        ("Suspended", "Hold", "nothing new"),
        ("CANCELED", "Canceled", "ended"),
        ("Cancelled", "Canceled", "ended"),
        ("COMPLETED", "Completed", "ended"),
        ("SUPERSEDED", "Superseded", "ended"),
    ],
)
def test_each_status_says_something_about_charges(name, status, news):
    (found,) = read(row(status=name)).rows
    assert (found.status, found.charge_news) == (status, news)


@pytest.mark.parametrize("first, second", [("CURRENT", "RETRY"), ("RETRY", "CURRENT")])
def test_of_two_living_rows_the_one_that_proves_a_charge_counts(first, second):
    assert read(row(status=first), row(status=second)).rows[0].charge_news == "proven"


DATED = [*HEADER[:-1], "Next Scheduled Date"]


def dated(text, status="CURRENT"):
    return [*row(status=status)[:-1], text]


@pytest.mark.parametrize(
    "text", ["2026-12-13", "20261213", "2026-12-13 18:43:28.0", "2026-12-13T18:43:28+08:00", " 2026-12-13 "]
)
def test_the_date_of_the_next_charge_is_read(text):
    found = read(dated(text), header=DATED)
    assert (found.rows[0].next_charge_on, found.spoilt_dates) == (date(2026, 12, 13), 0)


@pytest.mark.parametrize("text", ["12/13/2026", "2026-02-30", "soon", "46369"])
def test_a_date_that_cannot_be_read_is_counted_and_left_out(text):
    found = read(dated(text), header=DATED)
    assert (found.rows[0].next_charge_on, found.spoilt_dates, found.problems) == (None, 1, [])


@pytest.mark.parametrize("status", ["RETRY", "HOLD", "CANCELED"])
def test_only_a_row_that_proves_a_charge_has_a_next_date(status):
    found = read(dated("2026-12-13", status), header=DATED)
    assert (found.rows[0].next_charge_on, found.spoilt_dates) == (None, 0)


def test_of_two_equal_rows_with_different_dates_neither_date_counts():
    assert read(dated("2026-12-13"), dated("2026-12-20"), header=DATED).rows[0].next_charge_on is None
