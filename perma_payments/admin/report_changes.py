"""The changes of a status report, for staff to look through: in groups, filtered, sorted, and as CSV."""

from array import array
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.core.paginator import Page, Paginator
from django.db.models import Case, Count, Q, QuerySet, Value, When
from django.db.models.fields.json import KT
from django.http import QueryDict, StreamingHttpResponse

from ..billing.coverage import ChargeNews
from ..billing.statuses import ALIVE, ENDED, Status
from ..models import ReportState, StatusReport, StatusReportLine, SubscriptionAgreement
from ..postgres.time_limits import within
from ..services.status_reports.warnings import missing_from
from .csv_export import csv_line

PER_PAGE = 200
CSV_ROWS_AT_A_TIME = 2_000
SECONDS_FOR_THEM = 15

RECOVERED = Q(after__has_key="current_rate")


class Group(NamedTuple):
    """Changes of one sort: the name of the filter that shows only these, their title, and the lines that are such.

    A line is in the first group that it fits.
    """

    name: str
    title: str
    lines: Q


ONLY_DATES = "Only the date changes"
GROUPS = (
    Group("ending", "Ending", Q(before__status__in=ALIVE, after__status__in=ENDED)),
    Group("reactivated", "Reactivated", Q(before__status__in=ENDED, after__status__in=ALIVE)),
    Group("recovered", "Recovered", RECOVERED),
    Group("status", "Other changes of status", Q(after__has_key="status")),
    Group("terms", "Charged differently from our records", Q(our_terms__isnull=False)),
    Group("date", ONLY_DATES, Q(after__has_key="covered_until")),
    Group("other", "Other changes", Q()),
)
MISSING = "Missing from the report"

# The columns of the page, and what they are sorted by.
COLUMNS = {
    "reference": ("Reference number", ("agreement__reference_number",)),
    "customer": ("Customer", ("agreement__customer_type", "agreement__customer_pk")),
    "status": ("Status", ("status",)),
    "until": ("Paid for until", ("until",)),
}
CSV_COLUMNS = (
    "Change",
    "Reference number",
    "Customer",
    "Status before",
    "Status after",
    "Paid for until, before",
    "Paid for until, after",
    "Also",
)


class Changes:
    """A report's changes as a query string asks for them: of one group or of all, and in which order."""

    def __init__(self, report: StatusReport, query: QueryDict) -> None:
        self._report, self._query = report, query
        self.shown = next((group for group in GROUPS if group.name == query.get("show")), None)
        sort = query.get("sort", "")
        self._column, self._is_descending = sort.removeprefix("-"), sort.startswith("-")
        if self._column not in COLUMNS:
            self._column, self._is_descending = "reference", False

    def lines(self) -> "QuerySet[Any]":
        """The lines, each with the number of its ``group``. Those that end come first."""
        lines = self._all()
        if self.shown is not None:
            lines = lines.filter(group=GROUPS.index(self.shown))
        _, keys = COLUMNS[self._column]
        sign = "-" if self._is_descending else ""
        order = ["group", *(f"{sign}{key}" for key in keys), "agreement__reference_number"]
        sorted_lines: QuerySet[Any] = lines.annotate(until=KT("after__covered_until")).order_by(*order)
        return sorted_lines

    def _all(self) -> "QuerySet[Any]":
        whens = [When(group.lines, then=Value(at)) for at, group in enumerate(GROUPS[:-1])]
        lines: QuerySet[Any] = self._report.lines.filter(Q(after__isnull=False) | Q(our_terms__isnull=False))
        grouped: QuerySet[Any] = lines.annotate(group=Case(*whens, default=Value(len(GROUPS) - 1)))
        return grouped

    def context(self) -> dict[str, Any]:
        """What the template shows."""
        counts = dict(self._all().order_by().values_list("group").annotate(Count("pk")))
        page = self._page()
        rows = [(GROUPS[line.group].title, line, list(remarks(line))) for line in page]
        return {
            "page": page,
            "lines": [{"title": title, "line": line, "remarks": said} for title, line, said in rows],
            "shown": self.shown,
            "total": sum(counts.values()),
            "groups": [(group, counts[at]) for at, group in enumerate(GROUPS) if at in counts],
            "columns": [self._header(name, title) for name, (title, _) in COLUMNS.items()],
        }

    def _page(self) -> "Page[Any]":
        return Paginator(self.lines().select_related("agreement"), PER_PAGE).get_page(self._query.get("page"))

    def _header(self, name: str, title: str) -> dict[str, str]:
        """A column's title, how it is sorted now, and the sort that its link asks for."""
        if name != self._column:
            return {"title": title, "sort": name, "direction": ""}
        if self._is_descending:
            return {"title": title, "sort": name, "direction": "descending"}
        return {"title": title, "sort": f"-{name}", "direction": "ascending"}

    def csv(self, *, now: datetime) -> StreamingHttpResponse:
        """The changes as CSV, for spreadsheet programs; those missing from a plan's report come last."""
        return StreamingHttpResponse(
            (line.encode() for line in self._csv_lines(now)),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="status-report-{self._report.pk}.csv"'},
        )

    def _csv_lines(self, now: datetime) -> Iterator[str]:
        yield "\ufeff" + csv_line(CSV_COLUMNS)
        for line in _in_batches(self.lines().select_related("agreement")):
            yield csv_line(_cells(line))
        hidden = self._report.hidden_count()
        if hidden and (self.shown is None or self.shown.name == "date"):
            yield csv_line([ONLY_DATES, f"({hidden:,} no longer listed)", *[""] * 6])
        if self.shown is None and self._report.state == ReportState.PLANNED:
            for agreement in _in_batches(missing_from(self._report, now=now)):
                until = f"{agreement.covered_until:%Y-%m-%d}"
                row = [MISSING, str(agreement), str(agreement.customer), agreement.status, "", until, "", ""]
                yield csv_line(row)


def _in_batches(rows: "QuerySet[Any]") -> Iterator[Any]:
    # The request's own time limit is over once the first line is sent.
    with within(SECONDS_FOR_THEM):
        # Sorted once, and not again to find each batch.
        ids = array("q", rows.values_list("pk", flat=True))
    for start in range(0, len(ids), CSV_ROWS_AT_A_TIME):
        with within(SECONDS_FOR_THEM):
            batch = list(rows.filter(pk__in=ids[start : start + CSV_ROWS_AT_A_TIME]))
        yield from batch


def _cells(line: Any) -> list[str]:
    agreement: SubscriptionAgreement = line.agreement
    before, after = line.before or {}, line.after or {}
    return [
        GROUPS[line.group].title,
        str(agreement),
        str(agreement.customer),
        before.get("status") or line.status,
        after.get("status") or line.status,
        (before.get("covered_until") or "")[:10],
        (after.get("covered_until") or "")[:10],
        "; ".join(remarks(line)),
    ]


def remarks(line: StatusReportLine) -> Iterator[str]:
    """What a line does other than changing the status and the date."""
    before, after = line.before or {}, line.after or {}
    if line.status == Status.CURRENT and line.charge_news == ChargeNews.FAILED:
        yield "a charge failed and is being retried"
    if "current_rate" in after:
        yield "recovered with the terms of its checkout"
    if line.takes_token:
        yield "takes its token from the report"
    elif "current_rate" in after and line.status in ALIVE:
        yield "without a token"
    if "cancellation_requested_at" in after:
        yield "the requested cancellation is done"
    if "status" in after and before["status"] in ENDED and after["status"] not in ENDED:
        yield "reactivated"
    if line.our_terms is not None:
        ours = _terms(Decimal(line.our_terms["amount"]), line.our_terms["frequency"])
        yield f"CyberSource charges {_terms(line.amount, line.frequency)}, we have {ours}"


def _terms(amount: Decimal | None, frequency: str) -> str:
    return " ".join([f"${amount:,.2f}" if amount is not None else "", frequency]).strip()
