"""Everything that happened to a subscription or a purchase, oldest first, in plain words.

It combines checkouts, CyberSource's responses, the history (who changed what, and why), staff tasks and status
reports. Tokens are never shown, only that one was replaced.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from django.contrib.auth.models import User
from django.db.models import Q
from django.urls import reverse
from django.utils.text import capfirst

from ..billing.terms import ChangeKind
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
from .base import may_view

Subject = SubscriptionAgreement | Purchase


class EventKind(StrEnum):
    """What an event is about, in the order in which events of the same moment are listed."""

    REQUEST = "request"
    RESPONSE = "response"
    CHANGE = "change"
    TASK = "task"
    REPORT = "report"


# The models that users must be permitted to view. Changes belong to the subject's own page.
_MODELS = {
    EventKind.REQUEST: "outgoingtransaction",
    EventKind.RESPONSE: "response",
    EventKind.TASK: "stafftask",
    EventKind.REPORT: "statusreport",
}


class Link(NamedTuple):
    url: str
    text: str


@dataclass(frozen=True)
class Event:
    kind: EventKind
    time: datetime
    text: str
    details: tuple[str, ...] = ()
    link: Link | None = None


def context(subject: Subject, user: Any) -> dict[str, Any]:
    """For the template of the subject's page: the events that a user may see, and how many others there are."""
    events = timeline_of(subject)
    visible = [event for event in events if event.kind not in _MODELS or may_view(user, _MODELS[event.kind])]
    return {
        "title": f"{capfirst(subject._meta.verbose_name)} of {subject.customer}",
        "subtitle": str(subject),
        "events": visible,
        "events_hidden": len(events) - len(visible),
    }


def timeline_of(subject: Subject) -> list[Event]:
    about = {"agreement" if isinstance(subject, SubscriptionAgreement) else "purchase": subject}
    requests = {request.pk: request for request in OutgoingTransaction.objects.filter(**about).order_by("id")}
    related = Response.objects.filter(outgoing__in=requests).select_related("recorded_by")
    responses = list(related.defer("sealed").order_by("id"))
    changes = list(_history_of(type(subject)).filter(pgh_obj=subject))
    tasks = list(_history_of(StaffTask).filter(Q(**about) | Q(response__in=[each.pk for each in responses])))
    kinds: dict[int | None, str] = {pk: request.kind for pk, request in requests.items()}
    card_updates = {each.pk for each in responses if kinds[each.outgoing_id] == Kind.UPDATE}
    names = _Names(changes, tasks, {each.pk for each in responses if each.recorded_by_id is not None})
    events = [
        *(_request(request, subject) for request in requests.values()),
        *(_response(response, kinds[response.outgoing_id]) for response in responses),
        *_changes(changes, names, card_updates),
        *_tasks(tasks, names),
        *(_reports(subject) if isinstance(subject, SubscriptionAgreement) else ()),
    ]
    order = list(EventKind)
    return sorted(events, key=lambda event: (event.time, order.index(event.kind)))


def _history_of(model: Any) -> Any:
    return model.pgh_event_model.objects.order_by("pgh_id")


class _Names:
    """The users and reports that the history refers to by id, read all at once.

    ``recorded`` are the responses that staff have recorded.
    """

    def __init__(self, changes: Iterable[Any], tasks: Iterable[Any], recorded: Container[int]) -> None:
        self.recorded = recorded
        contexts = [change.pgh_context for change in changes if change.pgh_context]
        users = {task.done_by_id for task in tasks} | {context.get("user") for context in contexts}
        reports = {context.get("report") for context in contexts}
        self._users = User.objects.only("username").in_bulk(users - {None})
        self._reports = StatusReport.objects.only("uploaded_at", "state").in_bulk(reports - {None})

    def user(self, pk: int | None) -> str:
        user = self._users.get(pk or 0)
        return user.get_username() if user else "someone"

    def report(self, pk: int | None) -> str:
        return str(self._reports.get(pk or 0, "status report"))

    def is_undone(self, pk: int | None) -> bool:
        report = self._reports.get(pk or 0)
        return report is not None and report.state == ReportState.REVERTED


# --- Requests and responses ---------------------------------------------------------------------------


_PURPOSES = {
    ChangeKind.UPGRADE: "upgrade the subscription",
    ChangeKind.DOWNGRADE: "downgrade the subscription",
    ChangeKind.TAKING_BACK: "take the scheduled change back",
}


def _request(request: OutgoingTransaction, subject: Subject) -> Event:
    match request.kind:
        case Kind.SUBSCRIBE:
            text = (
                f"The customer went to CyberSource to subscribe: {_say(request.amount)} now, then "
                f"{_say(request.recurring_amount)} {request.recurring_frequency} starting "
                f"{_say(request.recurring_start_date)}, with a link limit of {request.link_limit}."
            )
        case Kind.CHANGE:
            purpose = _PURPOSES[ChangeKind(request.change_kind or "")]
            text = (
                f"The customer went to CyberSource to {purpose}: {_say(request.amount)} now, then "
                f"{_say(request.recurring_amount)} each time, with a link limit of {request.link_limit} starting "
                f"{_say(request.link_limit_effective_timestamp)}."
            )
        case Kind.UPDATE:
            text = "The customer went to CyberSource to update their card, which costs nothing."
        case _:
            links = subject.link_quantity if isinstance(subject, Purchase) else ""
            text = f"The customer went to CyberSource to buy {links} links for {_say(request.amount)}."
    link = _link(EventKind.REQUEST, request.pk)
    return Event(EventKind.REQUEST, request.created_at, text, link=link)


_DECISIONS = {
    "ACCEPT": "CyberSource accepted",
    "REVIEW": "CyberSource accepted, but is holding the payment for review",
    "DECLINE": "CyberSource declined",
    "ERROR": "CyberSource could not process the request",
    "CANCEL": "The customer canceled at CyberSource",
}


def _response(response: Response, kind: str) -> Event:
    """A response in words. The texts in it are CyberSource's: signed, but not ours."""
    unknown = f"CyberSource sent a decision that we do not know, {response.decision}"
    text = _DECISIONS.get(response.decision, unknown)
    if response.recorded_by is not None:
        text = f"{response.recorded_by.get_username()} recorded a payment from the Business Center"
    if response.reason_code:
        text += f": {explain(response.reason_code)} (reason code {response.reason_code})"
    details = [f"Request: {kind}"]
    if response.auth_amount:
        details.append(f"Authorized: {response.auth_amount} {response.currency}")
    outcome = response.get_outcome_display() if response.applied_at else "not applied yet; retried automatically"
    details.append(f"Result: {outcome}")
    if response.transaction_id:
        details.append(f"CyberSource's transaction id: {response.transaction_id}")
    link = _link(EventKind.RESPONSE, response.pk)
    return Event(EventKind.RESPONSE, response.received_at, f"{text}.", tuple(details), link)


# --- Changes ------------------------------------------------------------------------------------------

# Bookkeeping is not shown as a change. For a new row, neither is what the page says above.
_BOOKKEEPING = {"id", "created_at", "updated_at"}
_SAID_ABOVE = {"customer_type", "customer_pk", "status", "reference_number"}


def _changes(changes: Iterable[Any], names: _Names, card_updates: Container[int]) -> Iterator[Event]:
    before: Any = None
    time = datetime.min.replace(tzinfo=UTC)
    for change in changes:
        # A change has the time at which its transaction began. It may have waited for the previous one.
        time = max(time, change.pgh_created_at)
        details = tuple(_differences(before, change))
        if before is None:
            yield Event(EventKind.CHANGE, time, f"Created as {change.status}.", details)
        elif details or (details := _hidden_difference(change, card_updates)):
            text, reason, link = _source(change, names)
            yield Event(EventKind.CHANGE, time, text, (*reason, *details), link)
        before = change


def _differences(before: Any, after: Any) -> Iterator[str]:
    """What changed, as "name: old → new"; for a new row, "name: value"."""
    for field in after._meta.fields:
        name, new = field.name, getattr(after, field.attname)
        if name.startswith("pgh_") or name in _BOOKKEEPING:
            continue
        if before is None:
            if new not in (None, "") and name not in _SAID_ABOVE:
                yield f"{field.verbose_name}: {_say(new)}"
        elif getattr(before, name) != new:
            yield f"{field.verbose_name}: {_say(getattr(before, name))} → {_say(new)}"


def _hidden_difference(change: Any, card_updates: Container[int]) -> tuple[str, ...]:
    """What changed where no column did: the history does not keep an agreement's token."""
    if change.pgh_tracked_model is not SubscriptionAgreement:
        return ()
    if (change.pgh_context or {}).get("response") in card_updates:
        return ("token replaced",)
    return ("nothing, except perhaps the token, which the history does not keep",)


def _source(change: Any, names: _Names) -> tuple[str, tuple[str, ...], Link | None]:
    """Who or what made a change: a sentence, the reason if one was given, and a link."""
    context: Mapping[str, Any] = change.pgh_context or {}
    user, report = names.user(context.get("user")), names.report(context.get("report"))
    reason = (f"Reason: {context['reason']}",) if context.get("reason") else ()
    match context.get("source"):
        case HistorySource.CYBERSOURCE_RESPONSE:
            link = _link(EventKind.RESPONSE, context["response"])
            if context["response"] in names.recorded:
                return f"Changed by the payment that {user} recorded.", reason, link
            matched = f", matched by {user}" if context.get("user") else ""
            return f"Changed by CyberSource's response{matched}.", reason, link
        case HistorySource.CUSTOMER_REQUEST:
            return "Changed at the customer's request.", (), None
        case HistorySource.STATUS_REPORT:
            link = _link(EventKind.REPORT, context["report"])
            undone = ", undone later" if names.is_undone(context["report"]) else ""
            return f"Changed by the {report}, confirmed by {user}{undone}.", (), link
        case HistorySource.STATUS_REPORT_REVERTED:
            link = _link(EventKind.REPORT, context["report"])
            return f"Changed back: {user} undid the {report}.", (), link
        case HistorySource.STAFF:
            return f"Changed by {user}.", reason, None
        case HistorySource.SCHEDULER:
            return "The checkout had no response for a day.", (), None
        case HistorySource.RESTORE:
            return "The database had been restored: Perma.cc may have credited the links already.", (), None
        case HistorySource.PERMA_ACKNOWLEDGEMENT:
            return "Perma.cc confirmed that it has credited the links.", (), None
        case HistorySource.IMPORT if "history" in context:
            by = f" by {user}" if context.get("user") else ""
            return f"Changed in the old service{by}.", reason, None
        case HistorySource.IMPORT:
            return "Imported from the old service.", (), None
        case None:
            return "Changed directly in the database (SQL).", (), None
        case other:
            return f"Changed by {other}.", (), None


# --- Tasks --------------------------------------------------------------------------------------------


def _tasks(history: Iterable[Any], names: _Names) -> Iterator[Event]:
    """How each task was opened, emailed and ended, by comparing each state with the task's previous one."""
    states: dict[int, Any] = {}
    for state in history:
        link = _link(EventKind.TASK, state.pgh_obj_id)
        for text, details in _task_steps(states.get(state.pgh_obj_id), state, names):
            yield Event(EventKind.TASK, state.pgh_created_at, text, details, link)
        states[state.pgh_obj_id] = state


_HOW_ENDED = {
    Resolution.DONE: "done",
    Resolution.WITHDRAWN: "withdrawn",
    Resolution.TAKEN_BACK: "withdrawn, as the customer took the request back",
}


def _task_steps(before: Any, state: Any, names: _Names) -> Iterator[tuple[str, tuple[str, ...]]]:
    task = TaskKind(state.kind).label
    if before is None:
        yield f"Task opened: {task}.", ()
    if state.notified_at is not None and (before is None or before.notified_at is None):
        yield f"Staff were emailed about the task: {task}.", ()
    had_ended = before is not None and before.done_at is not None
    if state.done_at is not None and not had_ended:
        how = _HOW_ENDED[state.resolution]
        by = f" by {names.user(state.done_by_id)}" if state.done_by_id else ""
        yield f"Task {how}{by}: {task}.", (f"Note: {state.note}",) if state.note else ()
    elif state.done_at is None and had_ended:
        yield f"Task reopened: {task}.", (f"Reason: {state.note}",) if state.note else ()


# --- Status reports -----------------------------------------------------------------------------------


def _reports(agreement: SubscriptionAgreement) -> Iterator[Event]:
    """The confirmed reports that list a subscription as revived, but could not revive it.

    What reports changed is in its history. Those that changed nothing, or were never confirmed, are left out.
    """
    lines = StatusReportLine.objects.filter(
        agreement=agreement, is_incomplete=True, report__state=ReportState.APPLIED
    ).select_related("report__applied_by")
    # Leave out what may be long, such as the reports' warnings.
    columns = ("state", "uploaded_at", "applied_at", "applied_by__username")
    for line in lines.only("status", *(f"report__{column}" for column in columns)):
        report = line.report
        # Held by report_state_has_its_dates.
        assert report.applied_at is not None
        by = report.applied_by.get_username() if report.applied_by else "someone"
        text = (
            f"The {report}, confirmed by {by}, lists it as {line.status}, but it could not be completed: "
            "it has no checkout to take its terms from."
        )
        yield Event(EventKind.REPORT, report.applied_at, text, link=_link(EventKind.REPORT, report.pk))


# --- Values -------------------------------------------------------------------------------------------


def _say(value: Any) -> str:
    """A value for people: times in UTC, as the page says, money in dollars."""
    match value:
        case None | "":
            return "none"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
        case date():
            return f"{value:%Y-%m-%d}"
        case Decimal():
            return f"${value:,.2f}"
        case _:
            return str(value)


def _link(kind: EventKind, pk: int) -> Link:
    return Link(reverse(f"admin:perma_payments_{_MODELS[kind]}_change", args=[pk]), f"View the {kind}")
