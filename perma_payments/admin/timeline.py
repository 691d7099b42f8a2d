"""The whole story of a subscription or a purchase, in plain words, the oldest first.

It is told from what the ledger holds: checkouts, CyberSource's responses, the history (who and why), staff
tasks and status reports. No token is ever shown: where there is another one, that is said.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q
from django.urls import reverse

from ..billing.transactions import Kind
from ..cybersource.reasons import explain
from ..models import (
    OutgoingTransaction,
    Purchase,
    ReportState,
    Resolution,
    Response,
    StaffTask,
    StatusReport,
    StatusReportLine,
    SubscriptionAgreement,
    TaskKind,
)
from ..models.history import HistorySource

NOTHING = "nothing"


class EntryKind(StrEnum):
    """What an entry is about. The order is that of things which happen at the same moment."""

    REQUEST = "request"
    RESPONSE = "response"
    CHANGE = "change"
    TASK = "task"
    REPORT = "report"


_ORDER = list(EntryKind)


@dataclass(frozen=True)
class Entry:
    """One thing that happened."""

    kind: EntryKind
    when: datetime
    words: str
    details: tuple[str, ...] = ()
    link: str = ""


# What is told of a change, and how it is called. Whatever is not listed is bookkeeping.
_COLUMNS = {
    SubscriptionAgreement: {
        "status": "status",
        "current_rate": "rate",
        "current_frequency": "frequency",
        "current_link_limit": "link limit",
        "current_link_limit_effective_timestamp": "link limit in effect from",
        "schedule_start": "first scheduled charge",
        "covered_until": "paid for until",
        "coverage_proof": "paid according to",
        "next_charge_on": "next charge",
        "cancellation_requested_at": "cancellation requested",
        "customer_type": "customer type",
        "customer_pk": "customer id",
        "reference_number": "reference number",
    },
    Purchase: {
        "status": "status",
        "amount": "amount",
        "link_quantity": "links",
        "paid_at": "paid",
        "acknowledged_at": "credited by Perma.cc",
        "customer_type": "customer type",
        "customer_pk": "customer id",
        "reference_number": "reference number",
    },
}

_DECISIONS = {
    "ACCEPT": "CyberSource accepted",
    "REVIEW": "CyberSource accepted, but holds the payment for review",
    "DECLINE": "CyberSource declined",
    "ERROR": "CyberSource could not process it",
    "CANCEL": "The customer gave up at CyberSource",
}


def story_of(subject: SubscriptionAgreement | Purchase) -> list[Entry]:
    """Everything that happened to a subscription or a purchase, the oldest first."""
    column = "agreement" if isinstance(subject, SubscriptionAgreement) else "purchase"
    requests = list(OutgoingTransaction.objects.filter(**{column: subject}).order_by("id"))
    responses = list(Response.objects.filter(outgoing__in=requests).defer("sealed").order_by("id"))
    changes = list(_history_of(type(subject)).filter(pgh_obj=subject))
    tasks = list(
        _history_of(StaffTask).filter(
            Q(**{column: subject}) | Q(response__in=[response.pk for response in responses])
        )
    )
    references = _References(
        (event.pgh_context for event in changes), enders={task.done_by_id for task in tasks if task.done_by_id}
    )
    kinds = {request.pk: request.kind for request in requests}
    updates = {response.pk for response in responses if kinds.get(response.outgoing_id or 0) == Kind.UPDATE}
    entries = [
        *(_request(request, subject) for request in requests),
        *(_response(response, kinds) for response in responses),
        *_changes(type(subject), changes, references, updates),
        *_tasks(tasks, references),
    ]
    if isinstance(subject, SubscriptionAgreement):
        entries += _reports(subject)
    return sorted(entries, key=lambda entry: (entry.when, _ORDER.index(entry.kind)))


def _history_of(model: Any) -> Any:
    return model.pgh_event_model.objects.order_by("pgh_id")


# --- Requests and responses --------------------------------------------------------------------------


def _request(request: OutgoingTransaction, subject: SubscriptionAgreement | Purchase) -> Entry:
    return Entry(
        EntryKind.REQUEST,
        request.created_at,
        _asked_for(request, subject),
        link=_page("outgoingtransaction", request.pk),
    )


def _asked_for(request: OutgoingTransaction, subject: SubscriptionAgreement | Purchase) -> str:
    match request.kind:
        case Kind.SUBSCRIBE:
            return (
                f"The customer went to CyberSource to subscribe: {_say(request.amount)} at once, then "
                f"{_say(request.recurring_amount)} {request.recurring_frequency} from "
                f"{_say(request.recurring_start_date)} on, for a link limit of {request.link_limit}."
            )
        case Kind.CHANGE:
            return (
                f"The customer went to CyberSource to change the subscription: {_say(request.amount)} at once, "
                f"then {_say(request.recurring_amount)} each time, for a link limit of {request.link_limit} from "
                f"{_say(request.link_limit_effective_timestamp)} on."
            )
        case Kind.UPDATE:
            return "The customer went to CyberSource to give another card. Nothing is charged for that."
        case _:
            links = subject.link_quantity if isinstance(subject, Purchase) else ""
            return f"The customer went to CyberSource to buy {links} links for {_say(request.amount)}."


def _response(response: Response, kinds: Mapping[int, str]) -> Entry:
    """A response in words. The texts in it are CyberSource's: signed, but not ours."""
    unknown = f"CyberSource gave an answer that we do not know, {response.decision}"
    words = _DECISIONS.get(response.decision, unknown)
    if response.reason_code:
        words += f": {explain(response.reason_code)} (reason code {response.reason_code})"
    kind = kinds.get(response.outgoing_id or 0, "")
    details = [f"Answer to the request to {_VERBS[kind]}." if kind in _VERBS else ""]
    if response.auth_amount:
        details.append(f"Authorized: {response.auth_amount} {response.currency}")
    details.append(
        f"Result: {response.get_outcome_display()}"
        if response.applied_at
        else "Result: not applied yet; this is tried again every minute"
    )
    if response.transaction_id:
        details.append(f"CyberSource's transaction id: {response.transaction_id}")
    return Entry(
        EntryKind.RESPONSE,
        response.received_at,
        f"{words}.",
        tuple(filter(None, details)),
        link=_page("response", response.pk),
    )


_VERBS: Mapping[str, str] = {
    Kind.SUBSCRIBE: "subscribe",
    Kind.CHANGE: "change the subscription",
    Kind.UPDATE: "give another card",
    Kind.PURCHASE: "buy links",
}


# --- Changes -----------------------------------------------------------------------------------------


class _References:
    """The people and the reports that the history names by their ids, read at once."""

    def __init__(self, contexts: Iterable[Any], enders: set[int]) -> None:
        notes = [context for context in contexts if context is not None]
        self.people = User.objects.in_bulk(enders | {note["user"] for note in notes if note.get("user")})
        self.uploads = {
            upload.pk: str(upload)
            for upload in StatusReport.objects.only("uploaded_at").filter(
                pk__in={note["report"] for note in notes if note.get("report")}
            )
        }

    def person(self, user_id: int | None) -> str:
        """Who that is."""
        person = self.people.get(user_id or 0)
        return person.get_username() if person else "someone"

    def upload(self, upload_id: int | None) -> str:
        """Which report that is."""
        return self.uploads.get(upload_id or 0, "status report")


def _changes(
    model: Any, events: Iterable[Any], references: _References, updates: Container[int]
) -> Iterator[Entry]:
    """Each change; ``updates`` are the responses to requests to give another card."""
    before: Any = None
    when: datetime | None = None
    for event in events:
        # An event has the time at which its transaction began. It may have waited for the one before.
        when = max(when or event.pgh_created_at, event.pgh_created_at)
        details = tuple(_differences(model, before, event))
        if before is None:
            yield Entry(EntryKind.CHANGE, when, f"Put on record as {event.status}.", details)
        elif details or (details := _unseen(model, event, updates)):
            words, reason, link = _why(event, references)
            yield Entry(EntryKind.CHANGE, when, words, (*reason, *details), link)
        before = event


def _differences(model: Any, before: Any, after: Any) -> Iterator[str]:
    """What changed, as "name: old → new". Of the first event only what is not said otherwise."""
    for column, name in _COLUMNS[model].items():
        new = getattr(after, column)
        if before is None:
            said = column in ("status", "customer_type", "customer_pk", "reference_number")
            if new not in (None, "") and not said:
                yield f"{name}: {_say(new)}"
        elif getattr(before, column) != new:
            yield f"{name}: {_say(getattr(before, column))} → {_say(new)}"


def _unseen(model: Any, event: Any, updates: Container[int]) -> tuple[str, ...]:
    """What changed where no column did: of an agreement, what the history does not keep."""
    if model is not SubscriptionAgreement:
        return ()
    if _note(event).get("response") in updates:
        return ("token replaced",)
    return ("nothing but, perhaps, the token, of which the history keeps nothing",)


def _note(event: Any) -> Mapping[str, Any]:
    """What was said of a change while it was made."""
    note: Mapping[str, Any] = event.pgh_context or {}
    return note


def _why(event: Any, references: _References) -> tuple[str, tuple[str, ...], str]:
    """Who made a change and why: a sentence, the reason given, and a link."""
    note = _note(event)
    # Staff who place a response give a reason, too.
    reason = (f"Reason given: {note['reason']}",) if note.get("reason") else ()
    match note.get("source"):
        case HistorySource.CYBERSOURCE_RESPONSE:
            placed = f", which {_by(note, references)} has placed" if note.get("user") else ""
            return f"Changed by CyberSource's response{placed}.", reason, _page("response", note["response"])
        case HistorySource.CUSTOMER_REQUEST:
            return "Changed at the customer's request.", (), ""
        case HistorySource.STATUS_REPORT:
            words = f"Changed by the {references.upload(note['report'])}, confirmed by {_by(note, references)}."
            return words, (), _page("statusreport", note["report"])
        case HistorySource.STATUS_REPORT_REVERTED:
            words = f"Put back: the {references.upload(note['report'])} was undone by {_by(note, references)}."
            return words, (), _page("statusreport", note["report"])
        case HistorySource.STAFF:
            return f"Changed by {_by(note, references)}.", reason, ""
        case HistorySource.PERMA_ACKNOWLEDGEMENT:
            return "Perma.cc said that it has credited the links.", (), ""
        case None:
            return "Changed outside the service (SQL).", (), ""
        case other:
            return f"Changed by {other}.", (), ""


def _by(note: Mapping[str, Any], references: _References) -> str:
    return references.person(note.get("user"))


# --- Tasks -------------------------------------------------------------------------------------------


def _tasks(events: Iterable[Any], references: _References) -> Iterator[Entry]:
    """How each task was opened, mailed and ended. Each event is compared with the task's one before."""
    before: dict[int, Any] = {}
    for event in events:
        earlier = before.get(event.pgh_obj_id)
        for words, details in _task_steps(earlier, event, references):
            yield Entry(EntryKind.TASK, event.pgh_created_at, words, details, _page("stafftask", event.pgh_obj_id))
        before[event.pgh_obj_id] = event


def _task_steps(before: Any, event: Any, references: _References) -> Iterator[tuple[str, tuple[str, ...]]]:
    name = TaskKind(event.kind).label
    if before is None:
        yield f"Task opened: {name}.", ()
    if event.notified_at is not None and (before is None or before.notified_at is None):
        yield f"Staff were sent a mail about the task: {name}.", ()
    ended_before = before is not None and before.done_at is not None
    if event.done_at is not None and not ended_before:
        how = "done" if event.resolution == Resolution.DONE else "withdrawn"
        by = f" by {references.person(event.done_by_id)}" if event.done_by_id else ""
        yield f"Task {how}{by}: {name}.", (f"Note: {event.note}",) if event.note else ()
    elif event.done_at is None and ended_before:
        yield f"Task opened again: {name}.", ()


# --- Status reports ------------------------------------------------------------------------------------


def _reports(agreement: SubscriptionAgreement) -> Iterator[Entry]:
    """The reports that named a subscription. What those that were confirmed have changed is in its history."""
    rows = StatusReportLine.objects.filter(agreement=agreement).select_related(
        "report__uploaded_by", "report__applied_by"
    )
    for row in rows.only(*_OF_A_REPORT):
        upload = row.report
        if upload.applied_at is not None and upload.applied_by is not None:
            when, by = upload.applied_at, f"confirmed by {upload.applied_by.get_username()}"
        else:
            when, by = upload.uploaded_at, f"uploaded by {upload.uploaded_by.get_username()} and not confirmed"
        details: tuple[str, ...] = ()
        if row.is_incomplete:
            words = "but it could not be completed: there is no checkout to take its terms from"
        elif row.after is None:
            words = "as it was on record"
        elif upload.state == ReportState.PLANNED:
            words, details = "which would change it", tuple(_would_change(row))
        else:
            continue
        yield Entry(
            EntryKind.REPORT,
            when,
            f"The {upload}, {by}, calls it {row.status}, {words}.",
            details,
            _page("statusreport", upload.pk),
        )


_OF_A_REPORT = (
    "status",
    "before",
    "after",
    "takes_token",
    "is_incomplete",
    "report__state",
    "report__uploaded_at",
    "report__applied_at",
    "report__uploaded_by__username",
    "report__applied_by__username",
)


def _would_change(row: StatusReportLine) -> Iterator[str]:
    before, after = row.before or {}, row.after or {}
    for column, new in after.items():
        name = _COLUMNS[SubscriptionAgreement].get(column, column)
        yield f"{name}: {_readable(before.get(column))} → {_readable(new)}"
    if row.takes_token:
        yield "token: taken from the report"


def _readable(text: str | None) -> str:
    """A value as StatusReportLine keeps it: dates and moments are in ISO's format."""
    if text is None or "T" not in text:
        return text or NOTHING
    try:
        return _say(datetime.fromisoformat(text))
    except ValueError:
        return text


# --- Words -------------------------------------------------------------------------------------------


def _say(value: Any) -> str:
    """A value for people: moments in UTC, money in dollars."""
    match value:
        case None | "":
            return NOTHING
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        case date():
            return f"{value:%Y-%m-%d}"
        case Decimal():
            return f"${value:,.2f}"
        case _:
            return str(value)


def _page(model: str, pk: int) -> str:
    return reverse(f"admin:perma_payments_{model}_change", args=[pk])
