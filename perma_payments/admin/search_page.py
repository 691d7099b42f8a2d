"""The search page: one box for references, customers and payments."""

from collections.abc import Callable, Iterable
from datetime import UTC
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from ..models import OutgoingTransaction, Purchase, Response, StaffTask, SubscriptionAgreement
from .base import may_view
from .columns import customer_of
from .customers import elsewhere, may_search
from .links import customer_url
from .search import Named, Query, read_query

# Of each table.
SHOWN = 50
_SUBJECTS = ("agreement", "purchase")


class Hit(NamedTuple):
    url: str
    text: str
    note: str = ""


class Group(NamedTuple):
    """Hits of one kind. If there are more, ``list_url`` is the list that has all of them."""

    title: str
    hits: list[Hit]
    list_url: str = ""


def search_page(site: Any, request: HttpRequest) -> HttpResponse:
    """Lead to what a text names, if that is one thing. If it is not, list it, or say what can be searched for."""
    if not may_search(request.user):
        raise PermissionDenied
    text = request.GET.get("q", "").strip()
    query = read_query(text)
    named = Named(query)
    groups = _found(named, text, request.user)
    hits = [hit for group in groups for hit in group.hits]
    if len(hits) == 1:
        return HttpResponseRedirect(hits[0].url)
    if hits and may_view(request.user, "stafftask"):
        groups.append(_open_tasks(named, text))
    context = {
        **site.each_context(request),
        **elsewhere(),
        "title": "Search",
        "text": text,
        "is_understood": query != Query(),
        "groups": [group for group in groups if group.hits],
    }
    return TemplateResponse(request, "perma_payments/admin/search.html", context)


def _found(named: Named, text: str, user: Any) -> list[Group]:
    """What is named, without what belongs to something else that is: what is left is where staff want to go."""
    agreements = _visible(SubscriptionAgreement.objects.filter(pk__in=named.agreements), user)
    purchases = _visible(Purchase.objects.filter(pk__in=named.purchases), user)
    checkouts = _visible(OutgoingTransaction.objects.filter(pk__in=named.checkouts), user, *_SUBJECTS)
    of_outgoing = ["outgoing", *(f"outgoing__{name}" for name in _SUBJECTS)]
    responses = _visible(Response.objects.filter(pk__in=named.responses).defer("sealed"), user, *of_outgoing)

    # A number alone may be anyone's: those that we have seen. With the type, it is that customer's page.
    seen = {row.customer for row in [*agreements, *purchases]}
    asked = named.query.customers
    customers = [customer for customer in asked if len(asked) == 1 or customer in seen]
    agreements = [row for row in agreements if row.customer not in customers]
    purchases = [row for row in purchases if row.customer not in customers]
    subjects = {*agreements, *purchases}
    checkouts = [row for row in checkouts if row.subject not in subjects]
    responses = [
        row
        for row in responses
        if not row.outgoing or (row.outgoing not in checkouts and row.outgoing.subject not in subjects)
    ]
    return [
        Group("Customers", [Hit(customer_url(customer), str(customer)) for customer in customers]),
        _group(SubscriptionAgreement, agreements, text, _subject_hit),
        _group(Purchase, purchases, text, _subject_hit),
        _group(OutgoingTransaction, checkouts, text, _record_hit),
        _group(Response, responses, text, _record_hit),
    ]


def _visible(rows: Any, user: Any, *related: str) -> list[Any]:
    """The rows, newest first, if the user may view their table."""
    if not may_view(user, rows.model._meta.model_name):
        return []
    return list(rows.select_related(*related).order_by("-pk"))


def _open_tasks(named: Named, text: str) -> Group:
    tasks = StaffTask.objects.filter(pk__in=named.rows_of(StaffTask), done_at=None)
    rows = tasks.select_related("agreement", "purchase", "response").order_by("opened_at")
    return _group(StaffTask, rows, text, _task_hit)


def _group(model: type[Model], rows: Iterable[Any], text: str, hit: Callable[[Any], Hit]) -> Group:
    hits = [hit(row) for row in rows]
    title = "Open tasks" if model is StaffTask else str(model._meta.verbose_name_plural).capitalize()
    more = f"{_url(model, 'changelist')}?{urlencode({'q': text})}" if len(hits) > SHOWN else ""
    return Group(title, hits[:SHOWN], more)


def _subject_hit(row: SubscriptionAgreement | Purchase) -> Hit:
    url = f"{customer_url(row.customer)}#{row.reference_number}"
    return Hit(url, row.reference_number, f"{row.customer}, {row.status}")


def _record_hit(row: OutgoingTransaction | Response) -> Hit:
    time, text = (
        (row.received_at, row.decision) if isinstance(row, Response) else (row.created_at, row.get_kind_display())
    )
    note = (
        f"{row.reference_number}, {customer_of(row) or 'none of ours'}, {time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    )
    return Hit(_url(type(row), "change", row.pk), text, note)


def _task_hit(row: StaffTask) -> Hit:
    note = f"{row.reference_number}, {row.customer or 'none of ours'}"
    return Hit(_url(StaffTask, "change", row.pk), row.get_kind_display(), note)


def _url(model: type[Model], page: str, *args: int) -> str:
    return reverse(f"admin:perma_payments_{model._meta.model_name}_{page}", args=args)
