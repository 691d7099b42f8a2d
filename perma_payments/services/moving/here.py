"""Find what an earlier import has brought, so that nothing is imported twice, and nothing changed here is undone.

An agreement or a purchase is the same if its reference number, customer and time of creation are; a checkout has a
nonce, and a response a fingerprint, made from its old id.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from ...billing.statuses import PurchaseStatus
from ...models import OutgoingTransaction, Purchase, Response, SubscriptionAgreement
from ...models.history import HistorySource
from . import read
from .plan import Fate, Planned, PlannedAgreement, PlannedCustomer, PlannedPurchase
from .report import CannotMap, Report


def match(customers: Sequence[PlannedCustomer], report: Report) -> None:
    """Decide the fate of what is planned, and drop what is here. What cannot be decided stops the import."""
    agreements = [each for customer in customers for each in customer.agreements]
    purchases = [each for customer in customers for each in customer.purchases]
    _match_all(SubscriptionAgreement, read.AGREEMENTS, agreements, report)
    _match_purchase_ids(purchases, report)
    _match_all(Purchase, read.PURCHASES, purchases, report)
    _match_checkouts([*agreements, *purchases], report)
    _note_what_has_moved_on(customers)
    everything: list[Planned] = [*agreements, *purchases]
    for each in everything:
        report.does[_WHAT[type(each)], each.fate.value] += 1
        report.does["checkouts", Fate.NEW.value] += len(each.checkouts)
        report.does["responses", Fate.NEW.value] += len(each.responses)
        if isinstance(each, PlannedAgreement):
            if each.fate is not Fate.NEW:
                each.history = []
            report.does["history rows", Fate.NEW.value] += len(each.history)


_WHAT = {PlannedAgreement: "agreements", PlannedPurchase: "purchases"}


def _match_all(model: Any, table: str, planned: Iterable[Planned], report: Report) -> None:
    by_reference = {each.subject.reference_number: each for each in planned}
    for existing in model.objects.filter(reference_number__in=by_reference):
        each = by_reference[existing.reference_number]
        columns = _columns(model)
        if _agree(existing, each.subject, columns):
            each.subject.pk = existing.pk
            each.fate = Fate.SAME
            continue
        try:
            each.fate = _fate(existing, each.subject, columns)
        except CannotMap as problem:
            report.stops(table, each.old_id, problem)
            continue
        if each.fate is Fate.MOVED_ON:
            each.subject = existing
        each.subject.pk = existing.pk


def _fate(existing: Any, subject: Any, columns: Sequence[str]) -> Fate:
    """What becomes of a row that differs from the one here. Raises CannotMap if that cannot be decided."""
    imported = _last_event(existing, by_import=True)
    if imported is None or not _agree(existing, subject, ("customer_type", "customer_pk", "created_at")):
        raise CannotMap("reference_number", "belongs to another one here")
    if isinstance(subject, Purchase) and subject.status == PurchaseStatus.PAID and subject.pk != existing.pk:
        raise CannotMap("", "was imported before its response came, under another id: import into a new database")
    if _agree(imported, subject, [name for name in columns if hasattr(imported, name)]):
        return Fate.MOVED_ON
    if _last_event(existing, by_import=False).pgh_id != imported.pgh_id:
        raise CannotMap("", "was imported, and has changed in both services since")
    return Fate.CHANGED


def _match_purchase_ids(planned: Sequence[PlannedPurchase], report: Report) -> None:
    """A purchase's id is known to Perma.cc, so it must be free here."""
    by_pk = {each.subject.pk: each for each in planned if each.subject.pk is not None}
    for pk, reference_number in Purchase.objects.filter(pk__in=by_pk).values_list("pk", "reference_number"):
        if reference_number != by_pk[pk].subject.reference_number:
            report.stops(read.PURCHASES, by_pk[pk].old_id, CannotMap("", "has an id that another one has here"))


def _match_checkouts(planned: Sequence[Planned], report: Report) -> None:
    """Keep the checkouts and responses that are new here; a new response may belong to a checkout that is here."""
    uuids = [checkout.transaction_uuid for each in planned for checkout in each.checkouts]
    known = {
        each.transaction_uuid: each for each in OutgoingTransaction.objects.filter(transaction_uuid__in=uuids)
    }
    prints = [response.fingerprint for each in planned for response in each.responses]
    found = Response.objects.filter(fingerprint__in=prints).values_list("fingerprint", flat=True)
    answered = {bytes(each) for each in found}
    for each in planned:
        new = []
        for checkout in each.checkouts:
            here = known.get(checkout.transaction_uuid)
            if here is None:
                new.append(checkout)
            elif bytes(here.message_nonce) == checkout.message_nonce:
                checkout.pk = here.pk
            else:
                report.stops(read.TRANSACTIONS, each.old_id, CannotMap("transaction_uuid", "is taken here"))
        each.checkouts = new
        each.responses = [response for response in each.responses if response.fingerprint not in answered]


def _note_what_has_moved_on(customers: Sequence[PlannedCustomer]) -> None:
    pks = [customer.old.pk for customer in customers]
    here: dict[tuple[str, int], set[tuple[type[Any], int]]] = {}
    for model in (SubscriptionAgreement, Purchase):
        rows = model._default_manager.filter(customer_pk__in=pks).values_list("customer_type", "customer_pk", "pk")
        for customer_type, customer_pk, pk in rows:
            here.setdefault((customer_type, customer_pk), set()).add((model, pk))
    for customer in customers:
        planned: list[Planned] = [*customer.agreements, *customer.purchases]
        imported = {(type(each.subject), each.subject.pk) for each in planned}
        is_more_here = here.get((customer.old.type, customer.old.pk), set()) - imported
        customer.has_moved_on = bool(is_more_here) or any(each.fate is Fate.MOVED_ON for each in planned)


def _columns(model: Any) -> list[str]:
    """What must be the same for a row not to have changed."""
    return [field.attname for field in model._meta.concrete_fields if field.name not in ("id", "updated_at")]


def _agree(one: Any, other: Any, columns: Iterable[str]) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in columns)


def _last_event(row: Any, *, by_import: bool) -> Any:
    """The row's last event in the history; or, if there is one, the last that an import of the row has left."""
    events = row.pgh_event_model.objects.filter(pgh_obj=row).order_by("-pgh_id")
    if by_import:
        events = events.filter(pgh_context__source=HistorySource.IMPORT).exclude(pgh_context__has_key="history")
    return events.first()
