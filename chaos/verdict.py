"""Was anything lost or doubled? Compares what was done (`Record`) with what the service kept (`Ledger`) and says.

The model is small, because the rules are: a customer who was charged has it, once; nobody else has it; what
CyberSource did last is in force; a customer who asked to cancel has one open task; a purchase is credited once, or
still offered.
"""

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from urllib.parse import parse_qsl

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from sandbox.perma.store import Customer, Plan

from .ledger import Ledger, Row
from .record import CHANGE, PURCHASE, SUBSCRIBE, Cancellation, Checkout, Record, SentResponse, Told

# The secret half of development's archive key (docs/development.md), which is public.
ARCHIVE = SealedBox(PrivateKey(base64.b64decode("txmKQuPWYukMWn/wdZaMah47r4A86ojNThvBSmc2I2Q=")))

# What staff are told of a response, by its decision and reason.
TASKS = {("REVIEW", "480"): "held for review", ("ERROR", "150"): "indeterminate"}
# An answer can leave in the millisecond in which Perma.cc stops waiting for it. No protocol prevents that; if it
# happens more often, something else is wrong.
MOST_CROSSED = 1
UNPAID = {"CANCEL": 2, "DECLINE": 1}  # a cancel is the last word, even after a decline


@dataclass
class Verdict:
    """Sentences: what was lost, what was doubled, what else is wrong. And figures that are no faults."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)


def promises_kept(record: Record, ledger: Ledger) -> Verdict:
    """Whether every response that the service has promised to have is there, once, and whole.

    To be asked before CyberSource brings again what was not promised.
    """
    verdict = Verdict()
    rows = defaultdict(list)
    for row in ledger.responses:
        rows[row["transaction_uuid"], row["transaction_id"], row["decision"]].append(row)
    for checkout, response in record.responses():
        kept = rows.pop((checkout.uuid, response.transaction_id, response.decision), [])
        what = f"{response.decision} of {checkout.kind} {checkout.uuid}"
        if response.promised and not kept:
            verdict.lost.append(f"{what} was promised, and is not there")
        if len(kept) > 1:
            verdict.doubled.append(f"{what} is there {len(kept)} times")
        for row in kept:
            if not _holds(bytes(row["sealed"]), response):
                verdict.lost.append(f"{what} does not open, or holds something else")
    for uuid, _, decision in rows:
        verdict.wrong.append(f"{decision} of {uuid} is there, and was never sent")
    return verdict


def compare(record: Record, ledger: Ledger, told: Mapping[Customer, Told], mails: Iterable[str]) -> Verdict:
    """Compare everything, once all of CyberSource's responses have been taken and all mail is sent.

    `mails` are the ids of the mails that arrived.
    """
    verdict = promises_kept(record, ledger)
    verdict.lost += [
        f"response {row['id']} was never applied" for row in ledger.responses if not row["applied_at"]
    ]
    verdict.wrong += record.objections
    verdict.wrong += [f"{number} {what}" for what, number in ledger.never.items() if number]
    _compare_subscriptions(record, ledger, told, verdict)
    _compare_purchases(record, ledger, told, verdict)
    _compare_tasks_of_responses(record, ledger, verdict)
    _compare_mails(ledger, Counter(mails), verdict)
    return verdict


def _holds(sealed: bytes, response: SentResponse) -> bool:
    """Whether sealed bytes open, and hold the POST of the server or of the browser."""
    try:
        fields = parse_qsl(ARCHIVE.decrypt(sealed).decode(), keep_blank_values=True)
    except (CryptoError, ValueError):
        return False
    return sorted(fields) in (sorted(response.by_server), sorted(response.by_browser))


# --- Subscriptions ----------------------------------------------------------------------------------


@dataclass
class Expected:
    """What a subscription must be: its status in the ledger, its terms and its token."""

    status: str
    in_force: Plan | None = None
    scheduled: Plan | None = None
    token: str = ""


def expected_subscription(checkouts: Iterable[Checkout], ignored: frozenset[str] = frozenset()) -> Expected:
    """What the checkouts of one subscription make of it, if CyberSource's responses count in the order of signing.

    `ignored` are the transaction ids of responses that came too late to take effect, as a person was told.
    """
    expected = Expected("Pending")
    responses = [(checkout, response) for checkout in checkouts for response in checkout.responses]
    for checkout, response in sorted(responses, key=lambda pair: pair[1].signed):
        if response.transaction_id in ignored and response.transaction_id:
            continue
        if checkout.kind == SUBSCRIBE:
            if response.is_granted:
                expected = Expected("Current", checkout.plan, None, response.token)
            elif expected.status != "Current" and response.decision in UNPAID:
                order = ["Pending", "Rejected", "Aborted"]
                expected.status = max(expected.status, order[UNPAID[response.decision]], key=order.index)
            continue
        if not response.is_granted:
            continue
        if checkout.kind == CHANGE:
            if checkout.change == "downgrade":
                expected.scheduled = checkout.plan
            else:
                expected.in_force, expected.scheduled = checkout.plan, None
        expected.token = response.token or expected.token
    return expected


def _compare_subscriptions(
    record: Record, ledger: Ledger, told: Mapping[Customer, Told], verdict: Verdict
) -> None:
    checkouts = defaultdict(list)
    for checkout in record.checkouts:
        if checkout.kind != PURCHASE:
            checkouts[checkout.reference_number].append(checkout)
    tasks = defaultdict(list)
    for task in ledger.tasks:
        if task["agreement_id"]:
            tasks[task["agreement_id"]].append(task)
    standing: dict[Customer, list[tuple[Row, Expected]]] = defaultdict(list)
    customers = {(customer.customer_type, customer.pk): customer for customer in record.customers}
    rows = {row["reference_number"]: row for row in ledger.agreements}

    for reference in checkouts.keys() - rows.keys():
        verdict.lost.append(f"subscription {reference} is not there")
    for reference, row in rows.items():
        expected = expected_subscription(checkouts[reference], _out_of_order(checkouts[reference], row, ledger))
        problems = verdict.lost if expected.status == "Current" else verdict.wrong
        if row["status"] != expected.status:
            problems.append(f"subscription {reference} is {row['status']}; it should be {expected.status}")
        elif expected.status == "Current":
            customer = customers[row["customer_type"], row["customer_pk"]]
            standing[customer].append((row, expected))
            verdict.figures["subscriptions paid for"] += 1
            if _terms(row, "current") != _terms_of(expected.in_force):
                problems.append(f"subscription {reference} has other terms than were paid for")
            if _terms(row, "scheduled") != _terms_of(expected.scheduled):
                problems.append(f"subscription {reference} has other scheduled terms than were agreed to")
            if row["payment_token"] != expected.token:
                problems.append(f"subscription {reference} has another token than CyberSource's last")
            requested = record.cancellations.get(customer, Cancellation())
            _compare_cancellation(requested, row, tasks[row["id"]], verdict)
    for customer in record.customers:
        _compare_told_subscription(customer, standing[customer], told[customer], verdict)


def _out_of_order(checkouts: list[Checkout], row: Row, ledger: Ledger) -> frozenset[str]:
    """The responses that came too late, as staff were told, if CyberSource had really signed a later one."""
    responses = {response.transaction_id: response for checkout in checkouts for response in checkout.responses}
    last = max((response.signed for response in responses.values() if response.is_granted), default="")
    told = {task["response_id"] for task in ledger.tasks if task["kind"] == "out of order"}
    return frozenset(
        kept["transaction_id"]
        for kept in ledger.responses
        if kept["id"] in told
        and kept["transaction_id"] in responses
        and responses[kept["transaction_id"]].signed < last
    )


def _terms(row: Row, which: str) -> tuple[Decimal, str] | None:
    rate = row[f"{which}_rate"]
    return None if rate is None else (rate, row[f"{which}_link_limit"])


def _terms_of(plan: Plan | None) -> tuple[Decimal, str] | None:
    return None if plan is None else (plan.price, plan.link_limit)


def _compare_cancellation(requested: Cancellation, row: Row, tasks: list[Row], verdict: Verdict) -> None:
    """Who asked to cancel has one open task; who has kept the subscription has none."""
    cancellations = [task for task in tasks if task["kind"] == "cancellation"]
    opened = sum(task["done_at"] is None for task in cancellations)
    reference = row["reference_number"]
    if opened > 1:
        verdict.doubled.append(f"the cancellation of {reference} has {opened} open tasks")
    if requested.is_requested and not opened:
        verdict.lost.append(f"the cancellation of {reference} has no open task")
    if requested.is_requested is False and opened:
        verdict.wrong.append(f"{reference} has an open cancellation task, and the customer keeps it")
    if bool(row["cancellation_requested_at"]) != bool(opened):
        verdict.wrong.append(f"{reference} and its cancellation task disagree")
    # An answer that did not come may have been one to keep it.
    if requested.is_requested is not None and len(cancellations) - opened != requested.taken_back:
        verdict.doubled.append(f"the cancellation of {reference} has {len(cancellations) - opened} ended tasks")
    verdict.figures["open cancellation tasks"] += opened


def _compare_told_subscription(
    customer: Customer, standing: list[tuple[Row, Expected]], told: Told, verdict: Verdict
) -> None:
    """Perma.cc is told of the one subscription, with its status and plan."""
    if len(standing) > 1:
        verdict.doubled.append(f"{customer.key} has {len(standing)} subscriptions")
        return
    if not standing:
        if told.subscription is not None:
            verdict.wrong.append(f"Perma.cc is told of a subscription of {customer.key}, who never paid")
        return
    row, expected = standing[0]
    status = "Cancellation Requested" if row["cancellation_requested_at"] else "Current"
    plan = expected.scheduled or expected.in_force
    if told.subscription != (status, plan, expected.scheduled is not None):
        verdict.lost.append(f"Perma.cc is told something else of {customer.key}'s subscription than was paid for")


# --- Purchases --------------------------------------------------------------------------------------


def _compare_purchases(record: Record, ledger: Ledger, told: Mapping[Customer, Told], verdict: Verdict) -> None:
    checkouts = {checkout.reference_number: checkout for checkout in record.checkouts if checkout.kind == PURCHASE}
    doubts = {task["purchase_id"] for task in ledger.tasks if task["kind"] == "acknowledgement in doubt"}
    doubts |= set(ledger.unanswered)
    paid: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    offered: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    rows = {row["reference_number"]: row for row in ledger.purchases}
    crossed: list[str] = []

    for reference in checkouts.keys() - rows.keys():
        verdict.lost.append(f"purchase {reference} is not there")
    for reference, row in rows.items():
        checkout = checkouts.get(reference)
        status = _expected_purchase(checkout)
        if row["status"] != status:
            problems = verdict.lost if status == "Paid" else verdict.wrong
            problems.append(f"purchase {reference} is {row['status']}; it should be {status}")
        if checkout is None or status != "Paid":
            continue
        if row["link_quantity"] != checkout.link_quantity:
            verdict.lost.append(f"purchase {reference} has another number of links than was paid for")
        owner = row["customer_type"], row["customer_pk"]
        paid[owner].append((row["id"], row["link_quantity"]))
        credited = record.credited[row["id"]]
        verdict.figures["purchases paid for"] += 1
        verdict.figures["purchases credited by Perma.cc"] += bool(credited)
        if credited > 1:
            verdict.doubled.append(f"purchase {reference} was credited {credited} times")
        if row["acknowledged_at"] is None:
            offered[owner].append((row["id"], row["link_quantity"]))
            if credited:
                verdict.doubled.append(f"purchase {reference} was credited, and is still offered")
        elif not credited:
            sentence = f"purchase {reference} was never credited, is not offered, and no one is told"
            if row["id"] in doubts:
                verdict.figures["acknowledgements in doubt, for staff to look at"] += 1
            elif row["id"] in record.given_up:
                crossed.append(sentence)
            else:
                verdict.lost.append(sentence)
    verdict.figures["acknowledgements answered just when Perma.cc gave up"] = len(crossed)
    if len(crossed) > MOST_CROSSED:
        verdict.lost += crossed
    for customer in record.customers:
        who = customer.customer_type, customer.pk
        # Perma.cc is offered one at a time.
        if told[customer].offered != offered[who][:1]:
            verdict.lost.append(
                f"Perma.cc is offered something else to credit {customer.key} with than was paid for"
            )
        if sorted(told[customer].history) != paid[who]:
            verdict.lost.append(f"the purchase history of {customer.key} differs from what was paid for")


def _expected_purchase(checkout: Checkout | None) -> str:
    """The status of a purchase; no checkout means that the customer never came to CyberSource."""
    if checkout is None:
        return "Pending"
    if checkout.is_granted:
        return "Paid"
    unpaid = max((UNPAID.get(response.decision, 0) for response in checkout.responses), default=0)
    return ["Pending", "Refused", "Aborted"][unpaid]


# --- Tasks and mails --------------------------------------------------------------------------------


def _compare_tasks_of_responses(record: Record, ledger: Ledger, verdict: Verdict) -> None:
    """Staff are told once of what a person must look at, and of no duplicate charge: there was none."""
    told = Counter((task["response_id"], task["kind"]) for task in ledger.tasks if task["response_id"])
    kept = {
        (row["transaction_uuid"], row["transaction_id"], row["decision"]): row["id"] for row in ledger.responses
    }
    for checkout, response in record.responses():
        kind = TASKS.get((response.decision, response.reason_code))
        number = kept.get((checkout.uuid, response.transaction_id, response.decision))
        if kind and not told[number, kind]:
            verdict.lost.append(f"staff are not told: {kind}, {checkout.kind} {checkout.uuid}")
    for (number, kind), times in told.items():
        if times > 1:
            verdict.doubled.append(f"staff are told {times} times: {kind}, response {number}")
    for task in ledger.tasks:
        if task["kind"] in ("duplicate charge", "second subscription", "no longer stands", "unmatched"):
            verdict.wrong.append(f"task {task['id']} says {task['kind']}, and nothing like that was done")
        verdict.figures[f"tasks: {task['kind']}"] += 1


def _compare_mails(ledger: Ledger, mails: Counter[str], verdict: Verdict) -> None:
    """Each task that is open, or was taken back by the customer, was mailed at least once."""
    names = {mail.strip("<> ").rpartition("@")[0] for mail in mails}
    for task in ledger.tasks:
        is_taken_back = task["resolution"] == "taken back"
        if task["done_at"] is None or is_taken_back:
            opened: datetime = task["reopened_at"] or task["opened_at"]
            name = f"staff-task-{task['id']}-{opened.timestamp():.6f}" + ("-taken-back" if is_taken_back else "")
            if name not in names:
                verdict.lost.append(f"task {task['id']} ({task['kind']}) was never mailed")
    verdict.figures["mails"] = mails.total()
    verdict.figures["mails that came again"] = mails.total() - len(mails)
