"""A table is found in a file and read, or refused with a sentence."""

import codecs
import csv
import io

import pytest
from hypothesis import example, given, settings, strategies as st

from perma_payments.cybersource import csv_table
from perma_payments.cybersource.csv_table import Column, TableRow, UnreadableFile, read_table

COLUMNS = {
    "code": Column("Code", frozenset({"code", "productcode"}), is_required=True),
    "state": Column("State", frozenset({"state"}), is_required=True),
    "note": Column("Note", frozenset({"note"})),
}

# A name that must not be found in anything said about a file.
NAME = "Zebedee"


def file(*lines: str, above: tuple[str, ...] = ("Title", ""), header: str = "Code,Name,State") -> bytes:
    return "".join(f"{line}\r\n" for line in [*above, header, *lines]).encode()


def read(data: bytes) -> list[TableRow]:
    return list(read_table(data, COLUMNS).rows)


def row(line: int, code: str, state: str, note: str = "") -> TableRow:
    return TableRow(line, {"code": code, "state": state, "note": note})


def refusal(data: bytes) -> str:
    with pytest.raises(UnreadableFile) as caught:
        read(data)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text and NAME not in text
    return text


# --- The header -----------------------------------------------------------------------------------------


def test_the_columns_asked_for_are_read_whatever_else_there_is():
    table = read_table(file("A,x,on,y", header="Code,Name,State,Note"), COLUMNS)

    assert table.preamble == ["Title\r\n", "\r\n"]
    assert list(table.rows) == [row(4, "A", "on", "y")]


@pytest.mark.parametrize("count", [0, 1, 4, 49])
def test_the_header_is_found_wherever_it_stands(count):
    assert read(file("A,x,on", above=("Some, text",) * count)) == [row(count + 2, "A", "on")]


def test_the_header_is_not_looked_for_below_the_first_50_lines():
    assert "None of the first 50 lines" in refusal(file("A,x,on", above=("Some text",) * 50))


def test_stray_quotes_above_the_header_do_not_hide_it():
    assert read(file("A,x,on", above=('"All" things', 'from "here', '"an open quote'))) == [row(5, "A", "on")]


def test_a_filter_repeated_above_the_header_is_not_the_header():
    assert read(file("A,x,on", above=("Code:,,State:,All", "State,All"))) == [row(4, "A", "on")]


@pytest.mark.parametrize("name", ["CODE", " code ", '"Code"', "'Code", '="Code"', "product_code", "Product-Code"])
def test_a_column_is_found_by_each_spelling_of_its_names(name):
    assert read(file("A,x,on", header=f"{name},Name,State")) == [row(4, "A", "on")]


@pytest.mark.parametrize("header", ["Code,Code,State", "Code,Product Code,State", "Code,State,Note,Note"])
def test_a_header_with_two_columns_for_one_is_refused(header):
    assert "The header in line 3 has more than one" in refusal(file(header=header))


def test_a_column_that_is_not_asked_for_may_be_there_twice():
    assert read(file("A,x,on,y", header="Code,Name,State,Name")) == [row(4, "A", "on")]


@pytest.mark.parametrize(
    ("header", "lacking"),
    [(f"Code,{NAME}", "State"), (f"{NAME},State", "Code"), (f"Note,{NAME}", "Code and no column State")],
)
def test_a_column_that_the_header_lacks_is_named(header, lacking):
    assert refusal(file(header=header)) == f"The header in line 3 has no column {lacking}."


@pytest.mark.parametrize("header", ["Code;Name;State", "Code\tName\tState", "Code|Name|State", f'"Code"x,{NAME}'])
def test_a_header_that_is_not_between_commas_is_none(header):
    text = refusal(file(header=header))
    assert text == "None of the first 50 lines has the columns Code and State between commas."


# --- Rows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_any_line_end_is_read_with_and_without_a_byte_order_mark(mark, end):
    lines = ["Code,Name,State", 'A,"Müller, É.",on', "B,x,off"]
    assert read(mark + end.join(lines).encode()) == [row(2, "A", "on"), row(3, "B", "off")]


@pytest.mark.parametrize(
    ("written", "code"),
    [
        *((written, "A") for written in ("  A  ", '"A"', '" A "', "'A", '="A"', '"=""A"""', '=" A "', "\xa0A")),
        *((written, written) for written in ("=", '="', 'A"', '="A')),
        ('=""', ""),
    ],
)
def test_wrappers_and_blanks_come_off(written, code):
    assert read(file(f"{written},x,on")) == [row(4, code, "on")]


@pytest.mark.parametrize(
    "name",
    ['"Example, Erin"', '"Erin ""the"" Example"', '"two\r\nlines"', '"a\rb"', 'Erin "E"', "", "\x0b\x00\x85"],
)
def test_what_other_cells_hold_does_not_matter(name):
    assert [each.cells["code"] for each in read(file(f"A,{name},on", "B,x,off"))] == ["A", "B"]


def test_lines_are_numbered_as_in_an_editor():
    rows = read(file("A,x,on", 'B,"over\r\nthree\r\nlines",on', "C,x,on", "", "D,x"))
    assert [each.line for each in rows] == [4, 5, 8, 10]


@pytest.mark.parametrize("blank", ["", "   ", ",,", " , ,", '"",,'])
def test_blank_rows_are_left_out(blank):
    assert read(file(blank, "A,x,on", blank)) == [row(5, "A", "on")]


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("A", "This row has 1 cell where 3 are expected: it is incomplete."),
        ("A,x", "This row has 2 cells where 3 are expected: it is incomplete."),
        ("A,x,on,", "This row has 4 cells where 3 are expected: one of them may be in the wrong column."),
        ('A,"x"y,on', "The quotes in this row are wrong, so its cells cannot be told apart."),
    ],
)
def test_a_row_with_ambiguous_cells_says_why(text, flaw):
    before, flawed, after = read(file("A,x,on", text, "B,x,on"))

    assert (before, after) == (row(4, "A", "on"), row(6, "B", "on"))
    assert (flawed.line, flawed.cells, flawed.flaw, flawed.text.strip()) == (5, {}, flaw, text)


@pytest.mark.parametrize("name", ['"Joe" Smith', '"open', '"Smith, "Joe""', '"a""', '"""'])
def test_wrong_quotes_affect_only_their_own_row(name):
    others = [f'{number},"Sample, Sam",on' for number in range(100)]
    rows = read(file(*others[:50], f"A,{name},on", *others[50:]))

    assert [each.line for each in rows if each.flaw] == [54]
    assert len(rows) == 101


@pytest.mark.parametrize(("breaks", "flawed"), [(49, []), (50, [4])])
def test_a_row_has_a_limited_number_of_lines(breaks, flawed):
    data = file(f'A,"{"x" * breaks}",on'.replace("x", "x\n")).replace(b"\r\n", b"\n")
    assert [each.line for each in read(data) if each.flaw][:1] == flawed


# --- Not a table --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (codecs.BOM_UTF8 + b"\r\n  \r\n", "is empty"),
        (b"%PDF-1.7\n" + file("A,x,on"), "this is a PDF file"),
        (b"PK\x03\x04" + file("A,x,on"), "this is a spreadsheet file or a ZIP archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "this is a spreadsheet file"),
        (b"\x1f\x8b\x08", "this is a compressed file"),
        (b"\n <!DOCTYPE html><title>Log in</title>", "log in again, and choose CSV"),
        (b'<?xml version="1.0"?><Report/>', "looks like a web page or XML"),
        (file("A,x,on", f"B,{NAME} é,on").replace("é".encode(), b"\xe9"), "line 5 is something else"),
        (file("A,x,on").decode().encode("utf-16"), "line 1 is something else"),
        (b"x" * 65_537, "Line 1 is too long"),
        (file(f"A,{'x' * 65_536},on"), "Line 4 is too long"),
        (b"{}", "None of the first 50 lines"),
    ],
)
def test_a_file_without_a_table_is_refused_with_a_sentence(data, said):
    assert said in refusal(data)


def test_a_file_of_too_many_lines_is_refused(monkeypatch):
    monkeypatch.setattr(csv_table, "MAX_LINES", 4)

    assert len(read(file("A,x,on"))) == 1
    assert "more than 4 lines" in refusal(file("A,x,on", "B,x,on"))


PIECES = [b"Code,Name,State", b"A,x,on", b"A,x", b"A,x,on,", b'"', b'x","y', b",,", b"", b"\x00"]
LINES = st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=12)


@settings(deadline=None)
@given(
    st.binary() | st.builds(lambda lines, end: end.join(lines), LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]))
)
@example(file("A,x,on").replace(b"\r", b"\x00"))
def test_any_bytes_are_a_table_or_refused(data):
    try:
        rows = read(data)
    except UnreadableFile:
        return
    assert [each.line for each in rows] == sorted({each.line for each in rows})
    assert all(bool(each.cells) != bool(each.flaw) for each in rows)


@settings(deadline=None)
@given(
    st.lists(st.text(st.characters(codec="utf-8") | st.sampled_from("\",\n\r'="), max_size=30), max_size=6),
    st.sampled_from([("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]),
)
def test_what_the_csv_module_writes_is_read(names, style):
    end, quoting = style
    text = io.StringIO(newline="")
    rows = [("Code", "Name", "State"), *((number, name, "on") for number, name in enumerate(names))]
    csv.writer(text, lineterminator=end, quoting=quoting).writerows(rows)

    found = [(each.cells["code"], each.cells["state"]) for each in read(text.getvalue().encode())]
    assert found == [(str(number), "on") for number in range(len(names))]
