"""What an import would do, or has done: numbers, and the rows that are not imported as they are.

A row is named by its table, its id and a column; what is in the column is never shown, because it may be personal.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

# As many ids of a group as are shown.
MAX_SHOWN = 20


class Severity(Enum):
    STOPS = "Stops the import, because a customer could lose what they pay for"
    LEFT_OUT = "Left out"
    DIFFERS = "Imported with a difference"


class CannotMap(Exception):
    """Why a row cannot become one of ours: the column, and words that follow "table.column"."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(column, reason)
        self.column, self.reason = column, reason


class Group(NamedTuple):
    """Rows that have the same problem in the same column."""

    severity: Severity
    table: str
    column: str
    reason: str


@dataclass
class Report:
    """What was found. ``does`` counts what happens to rows: those that are new here, changed, or already here."""

    groups: dict[Group, list[int]] = field(default_factory=lambda: defaultdict(list))
    does: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, severity: Severity, table: str, row_id: int, column: str, reason: str) -> None:
        self.groups[Group(severity, table, column, reason)].append(row_id)

    def stops(self, table: str, row_id: int, problem: CannotMap) -> None:
        self.add(Severity.STOPS, table, row_id, problem.column, problem.reason)

    def leaves_out(self, table: str, row_id: int, problem: CannotMap) -> None:
        self.add(Severity.LEFT_OUT, table, row_id, problem.column, problem.reason)

    def differs(self, table: str, row_id: int, column: str, reason: str) -> None:
        self.add(Severity.DIFFERS, table, row_id, column, reason)

    @property
    def stop_count(self) -> int:
        return sum(len(ids) for group, ids in self.groups.items() if group.severity is Severity.STOPS)

    def lines(self) -> Iterator[str]:
        yield "Rows:"
        for what, outcome in sorted(self.does):
            yield f"  {what:24} {outcome:16} {self.does[what, outcome]:>9,}"
        for severity in Severity:
            groups = {group: ids for group, ids in self.groups.items() if group.severity is severity}
            if groups:
                yield ""
                yield f"{severity.value} ({sum(map(len, groups.values())):,}):"
            for group, ids in sorted(groups.items(), key=lambda each: each[0][1:]):
                shown = ", ".join(map(str, ids[:MAX_SHOWN])) + (", …" if len(ids) > MAX_SHOWN else "")
                column = f".{group.column}" if group.column else ""
                yield f"  {group.table}{column} {group.reason}: {len(ids):,} (id {shown})"
