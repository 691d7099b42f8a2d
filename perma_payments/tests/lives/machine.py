"""The machine: each rule is an event of one of the two protocols, something that staff do, or time that passes.

Messages, responses and replies go through the routes, staff's side through the services. After each rule, what
Perma.cc is told and what is in the database is compared with the model.
"""

import re
import uuid
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum, auto
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlencode, urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from perma_payments import models
from perma_payments.billing.statuses import Status
from perma_payments.management import jobs
from perma_payments.services import acknowledgement, corrections, freeze, recovery, staff_tasks
from perma_payments.services.callbacks import apply
from perma_payments.services.status_reports.apply import CannotBeDone, apply_report
from perma_payments.services.status_reports.discard import discard_report
from perma_payments.services.status_reports.expect import expect_report
from perma_payments.services.status_reports.plan import plan_report
from perma_payments.services.status_reports.revert import revert_report
from perma_payments.services.status_reports.warnings import required_checks

from .. import cyber_source, perma_cc
from ..conftest import FORM
from .model import (
    UNPAID,
    WORDS,
    Checkout,
    Customer,
    Model,
    Plan,
    Purchase,
    Response,
    Subscription,
    Terms,
    due,
    last_change,
    last_token,
    midnight,
)
from .reader import read_history, read_status

# The same number, so that confusing the two would be noticed.
CUSTOMERS = [Customer("Individual", 7), Customer("Registrar", 7)]
PLANS = [Plan("10.00", "10"), Plan("25.00", "100"), Plan("30.00", "100"), Plan("100.00", "500")]

# First days on which something goes wrong if months are counted badly.
FIRST_DAYS = [date(2026, 11, 13), date(2027, 1, 31), date(2028, 1, 30), date(2028, 2, 29), date(2026, 8, 31)]

ORIGINS = {
    "customer": "customer request",
    "cybersource": "CyberSource response",
    "acknowledgement": "Perma.cc acknowledgement",
    "report": "status report",
    "revert": "status report reverted",
    "staff": "staff",
    "scheduler": "scheduler",
}
TRACKED: list[Any] = [models.SubscriptionAgreement, models.Purchase, models.StaffTask, models.CheckoutFreeze]

# What CyberSource answers: the fields that differ from those of a valid response, and what it says in the model.
ANSWERS: dict[str, tuple[str, dict[str, Any], str]] = {
    "accept": ("ACCEPT", {}, "granted"),
    "review": ("REVIEW", {}, "granted"),
    "decline": ("DECLINE", {}, ""),
    "error": ("ERROR", {}, "checkout failed"),
    "perhaps": ("ERROR", {"reason_code": "150"}, "indeterminate"),
    "duplicate": ("ERROR", {"reason_code": "104", "transaction_id": ...}, "indeterminate"),
    "cancel": ("CANCEL", {}, ""),
    "unheard of": ("SETTLE", {"reason_code": "100", "transaction_id": "1"}, "unknown decision"),
}
# Only a sale can be answered so.
SALE_ANSWERS: dict[str, tuple[str, dict[str, Any], str]] = {
    "partial": ("ACCEPT", {"reason_code": "110", "auth_amount": "1.00"}, "partial approval"),
    "less": ("ACCEPT", {"auth_amount": "1.00"}, "partial approval"),
    "unreadable": ("ACCEPT", {"auth_amount": "1,000.00"}, "unreadable amount"),
    "another price": ("ACCEPT", {"req_amount": "7.77", "auth_amount": "7.77"}, "not what was signed"),
    "another order": ("ACCEPT", {"req_reference_number": "PERMA-0000-0000"}, "not what was signed"),
}

# Which one, counted from the last: smaller is later, so that failing examples shrink to recent ones.
which = st.integers(0, 30)
customers = st.sampled_from(CUSTOMERS)
plans = st.sampled_from(PLANS)
# Minutes between the rendering of a page and the click.
waits = st.sampled_from([0, 0, 0, 1, 90, 23 * 60])
answers = st.sampled_from(["accept"] * 12 + ["review"] * 2 + [*ANSWERS, *SALE_ANSWERS])


class Way(StrEnum):
    """How a response comes to us."""

    AT_ONCE = auto()
    BY_BROWSER = auto()
    BROKEN = auto()  # it comes at once, and cannot be applied
    LATER = auto()
    LOST = auto()  # it comes at once, with a uuid that isn't ours


ways = st.sampled_from([Way.AT_ONCE] * 3 + list(Way))
# How far CyberSource's clock is off, in seconds.
skews = st.sampled_from([0] * 4 + [-3607, 3607])
# What follows when a customer gets to CyberSource: nothing, or a response.
endings = st.one_of(st.tuples(answers, ways, skews), st.tuples(answers, ways, skews), st.none())
Ending = tuple[str, Way, int] | None


@dataclass(eq=False)
class Page:
    """A page of Perma.cc's with a message in it, which may be sent more than once."""

    route: str
    customer: Customer
    encrypted: str
    rendered_at: datetime
    wanted: Terms | None
    facts: dict[str, Any]
    checkout: Checkout | None = None
    is_used_up: bool = False


@dataclass(eq=False)
class Report:
    """A status report that staff have uploaded."""

    pk: int
    rows: list[tuple[Subscription, str, date | None]]
    is_applied: bool = False


class Lives(RuleBasedStateMachine):
    """Two customers, the service, and what is around it."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self.client = client
        self.model = Model()
        self.now = datetime(2026, 11, 28, 12, tzinfo=UTC)
        self.is_frozen = False
        self.pages: list[Page] = []
        self.checkouts: list[Checkout] = []
        self.responses: list[Response] = []
        self.received: dict[tuple[str, ...], Response] = {}
        self.issued: dict[Subscription, set[str]] = {}
        self.reports: list[Report] = []
        self.acknowledged_in_doubt: list[tuple[datetime, Purchase]] = []
        self.origins: set[str] = set()
        self.told: dict[Customer, Any] = {}
        self.replayed: dict[Any, dict[int, dict[str, Any]]] = {each: {} for each in TRACKED}
        self.last_event: dict[Any, int] = {}
        # Undone at the end of the example. As in Django's TestCase, durable transactions may be inside.
        self._all = transaction.atomic()
        self._all._from_testcase = True  # type: ignore[attr-defined]
        self._all.__enter__()
        self._clock = patch.object(timezone, "now", lambda: self.now)
        self._clock.start()
        self.staff = User.objects.create_user("staff")
        for model in TRACKED:
            last = model.pgh_event_model.objects.order_by("-pgh_id").first()
            self.last_event[model] = last.pgh_id if last else 0

    def teardown(self) -> None:
        self._clock.stop()
        transaction.set_rollback(True)
        self._all.__exit__(None, None, None)

    # --- How things are done ------------------------------------------------------------------------

    def comes_from(self, *origins: str) -> None:
        """Say whose doing all changes in this step are."""
        self.origins = {ORIGINS[each] for each in origins}

    def a_new_transaction_begins(self) -> None:
        """Forget whose doing the last change was, as PostgreSQL does at the end of a transaction."""
        names = ("pghistory.context_id", "pghistory.context_metadata")
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config(%s, '', true), set_config(%s, '', true)", names)

    def post(self, path: str, fields: dict[str, str]) -> HttpResponse:
        return self.client.post(path, urlencode(fields), content_type=FORM)

    def ask(self, route: str, **fields: Any) -> HttpResponse:
        """A call of Perma.cc's servers."""
        return self.post(
            f"/{route}/", {"encrypted_data": perma_cc.seal({"timestamp": self.now.timestamp(), **fields})}
        )

    def passes(self, time: timedelta) -> None:
        self.now += time

    # --- Perma.cc's pages ---------------------------------------------------------------------------

    def render(self, route: str, customer: Customer, wanted: Terms | None = None, **fields: Any) -> Page:
        message = {
            "timestamp": self.now.timestamp(),
            "customer_type": customer.type,
            "customer_pk": customer.pk,
            **fields,
        }
        page = Page(route, customer, perma_cc.seal(message), self.now, wanted, fields)
        self.pages.append(page)
        return page

    def submit(self, page: Page) -> None:
        """The customer presses the button on a page, perhaps again."""
        self.origins.add(ORIGINS["customer"])
        is_expired = self.now - page.rendered_at > timedelta(hours=24)
        reply = self.post(f"/{page.route}/", {"encrypted_data": page.encrypted})
        if page.route == "cancel-request":
            self.is_asked_to_cancel(page, reply.status_code == 302 and not is_expired)
            return
        assert reply.status_code in (200, 400), reply.status_code
        form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', reply.content.decode()))
        if not form:
            self.is_refused(page, is_expired)
            return
        assert not is_expired and not self.is_frozen
        if page.checkout is None:
            page.checkout = self.begun(page, form)
            self.checkouts.append(page.checkout)
            return
        # The same message leads to the same checkout, while a second charge would be refused there.
        assert form["transaction_uuid"] == page.checkout.form["transaction_uuid"]
        assert form["reference_number"] == page.checkout.form["reference_number"]
        assert not page.checkout.answered and self.now - page.checkout.begun_at <= timedelta(minutes=15)
        page.checkout.form = form

    def begun(self, page: Page, form: dict[str, str]) -> Checkout:
        """What the customer can pay for now."""
        standing = self.model.standing(page.customer, self.now)
        if page.route == "subscribe":
            assert not standing
            assert page.wanted is not None
            subject: Subscription | Purchase = Subscription(
                page.customer,
                form["reference_number"],
                page.wanted,
                page.facts["recurring_frequency"],
                date.fromisoformat(page.facts["recurring_start_date"]),
            )
            self.model.subscriptions.append(subject)
            assert form["recurring_amount"] == page.wanted.plan.rate
        elif page.route == "purchase":
            subject = Purchase(page.customer, form["reference_number"], page.facts["link_quantity"])
            subject.id = models.Purchase.objects.get(reference_number=subject.reference_number).pk
            self.model.purchases.append(subject)
        else:
            subject = standing[0]
            assert subject.status in ("Current", "Hold") and not subject.is_canceling
            assert form["reference_number"] == subject.reference_number
            assert form["payment_token"] in self.issued[subject]
        assert form.get("amount") == page.facts.get("amount")
        return Checkout(page.route, subject, form, self.now, page.wanted)

    def is_refused(self, page: Page, is_expired: bool) -> None:
        """Whether a page without a form was right."""
        if is_expired or self.is_frozen or page.checkout is not None:
            return
        if page.route == "subscribe":
            assert self.model.standing(page.customer, self.now)
        assert page.route != "purchase"

    def is_asked_to_cancel(self, page: Page, is_granted: bool) -> None:
        standing = self.model.standing(page.customer, self.now)
        can_cancel = bool(standing) and standing[0].status in ("Current", "Hold")
        is_expired = self.now - page.rendered_at > timedelta(hours=24)
        assert is_granted == (not is_expired and (page.is_used_up or can_cancel))
        if is_granted and not page.is_used_up:
            page.is_used_up = True
            self.cancels(standing[0], page)

    def cancels(self, subscription: Subscription, by: object) -> None:
        before = subscription.before()
        subscription.is_canceling = True
        subscription.is_changed(by, before)
        assert self.open_cancellation(subscription) is not None

    def open_cancellation(self, subscription: Subscription) -> models.StaffTask | None:
        tasks = models.StaffTask.objects.filter(kind="cancellation", done_at=None)
        return tasks.filter(agreement__reference_number=subscription.reference_number).first()

    @initialize(
        first_day=st.sampled_from(FIRST_DAYS),
        hour=st.integers(0, 23),
        are_subscribed=st.sampled_from([(1, 1), (1, 0), (0, 1)]),
    )
    def begins(self, first_day: date, hour: int, are_subscribed: tuple[int, int]) -> None:
        """On a certain day, with customers who have just subscribed, or not yet."""
        self.now = midnight(first_day) + timedelta(hours=hour, minutes=7)
        for customer, is_subscribed in zip(CUSTOMERS, are_subscribed, strict=True):
            if is_subscribed:
                self.subscribes(customer, PLANS[1], "monthly", 0, ("accept", Way.AT_ONCE, 0))

    def goes(self, page: Page, wait: int, ending: Ending) -> None:
        """The customer presses the button some minutes later, and CyberSource answers."""
        self.passes(timedelta(minutes=wait))
        self.submit(page)
        if page.checkout is not None and ending is not None:
            self.answers(page.checkout, *ending)

    @rule(
        customer=customers,
        plan=plans,
        frequency=st.sampled_from(["monthly", "annually"]),
        wait=waits,
        ending=endings,
    )
    def subscribes(self, customer: Customer, plan: Plan, frequency: str, wait: int, ending: Ending) -> None:
        start = due(self.now.date(), frequency, 1)
        page = self.render(
            "subscribe",
            customer,
            Terms(plan, self.now),
            amount=plan.rate,
            recurring_amount=plan.rate,
            recurring_frequency=frequency,
            recurring_start_date=start.isoformat(),
            link_limit=plan.link_limit,
            link_limit_effective_timestamp=self.now.timestamp(),
        )
        self.goes(page, wait, ending)

    def change_page(self, customer: Customer, plan: Plan, amount: str) -> Page:
        """As Perma.cc's client makes it, from what it was told last."""
        told = self.told[customer]
        in_force, _ = self.model.standing(customer, self.now)[0].terms(self.now)
        is_less = plan.size < in_force.plan.size
        since = told["paid_through"] if is_less else self.now
        return self.render(
            "change",
            customer,
            Terms(plan, since),
            amount=amount if plan.size > in_force.plan.size else "0.00",
            recurring_amount=plan.rate,
            recurring_frequency=told["frequency"],
            recurring_start_date=told["paid_through"].date().isoformat(),
            link_limit=plan.link_limit,
            link_limit_effective_timestamp=since.timestamp(),
        )

    amounts = st.sampled_from(["5.00", "5.00", "0.00"])

    @precondition(lambda self: any(self.told.values()))
    @rule(customer=customers, plan=plans, amount=amounts, wait=waits, ending=endings)
    def changes_plan(self, customer: Customer, plan: Plan, amount: str, wait: int, ending: Ending) -> None:
        if self.told.get(customer):
            self.goes(self.change_page(customer, plan, amount), wait, ending)

    @precondition(lambda self: any(self.told.values()))
    @rule(
        customer=customers,
        tabs=st.tuples(plans, st.one_of(plans, st.none())),
        amount=amounts,
        both=st.tuples(answers, answers),
        is_crossed=st.booleans(),
    )
    def uses_two_tabs(
        self,
        customer: Customer,
        tabs: tuple[Plan, Plan | None],
        amount: str,
        both: tuple[str, str],
        is_crossed: bool,
    ) -> None:
        """To change the plan twice, or the plan and the card. The responses may come in the other order."""
        if not self.told.get(customer):
            return
        pages = [
            self.change_page(customer, plan, amount) if plan else self.render("update", customer) for plan in tabs
        ]
        for page in pages:
            self.passes(timedelta(minutes=1))
            self.submit(page)
        checkouts = [page.checkout for page in pages if page.checkout is not None]
        made = [self.answers(this, answer, Way.LATER, 0) for this, answer in zip(checkouts, both, strict=False)]
        for response in reversed(made) if is_crossed else made:
            if response is not None:
                self.arrives(response, "/cybersource-callback/", fails=False)

    @rule(customer=customers, wait=waits, ending=endings)
    def updates_card(self, customer: Customer, wait: int, ending: Ending) -> None:
        self.goes(self.render("update", customer), wait, ending)

    @rule(customer=customers, quantity=st.sampled_from([10, 100]), wait=waits, ending=endings)
    def buys(self, customer: Customer, quantity: int, wait: int, ending: Ending) -> None:
        self.goes(self.render("purchase", customer, amount="15.00", link_quantity=quantity), wait, ending)

    @rule(customer=customers, wait=waits)
    def asks_to_cancel(self, customer: Customer, wait: int) -> None:
        page = self.render("cancel-request", customer)
        self.passes(timedelta(minutes=wait))
        self.submit(page)

    @precondition(lambda self: self.pages)
    @rule(page=which)
    def presses_again(self, page: int) -> None:
        self.submit(self.pages[-1 - page % len(self.pages)])

    @rule(customer=customers, action=st.sampled_from(["keep", "cancel", "look"]))
    def opens_portal(self, customer: Customer, action: str) -> None:
        """The pages for the client of 2026, which say what Perma.cc is told, and their two buttons."""
        self.comes_from("customer")
        page = perma_cc.seal(
            {"timestamp": self.now.timestamp(), "customer_type": customer.type, "customer_pk": customer.pk}
        )
        with patch.object(settings, "UPDATE_LEADS_TO", "page"):
            opened = self.post("/update/", {"encrypted_data": page})
        assert opened.status_code == 303
        shown = self.client.get(opened["Location"])
        assert shown.status_code == 200
        standing = self.model.standing(customer, self.now)
        status = re.search(r'id="subscription" data-status="([^"]+)"', shown.content.decode())
        assert status is not None
        told = standing[0].for_perma(self.now)["status"] if standing else None
        assert status[1] == told or (told is None and status[1] in ("none", "Pending"))
        if action == "cancel" and standing:
            address = opened["Location"].replace("/portal/?", "/portal/cancel/?")
            self.presses(standing[0], action, self.client.get(address))
        elif action == "keep" and standing:
            self.presses(standing[0], action, shown)

    def presses(self, subscription: Subscription, action: str, page: HttpResponse) -> None:
        """Press the portal's button, if it is there."""
        pattern = rf'<form class="{action}" method="post" action="([^"]+)">.*?name="token" value="([^"]+)"'
        button = re.search(pattern, page.content.decode(), re.DOTALL)
        is_canceling, is_alive = subscription.is_canceling, subscription.status in ("Current", "Hold")
        if action == "cancel":
            assert (button is not None) == (is_alive and not is_canceling)
        else:
            assert (button is not None) == (is_canceling and self.open_cancellation(subscription) is not None)
        if button is None:
            return
        with patch.object(settings, "UPDATE_LEADS_TO", "page"):
            reply = self.post(button[1], {"token": button[2]})
            again = self.post(button[1], {"token": button[2]})
        assert (reply.status_code, again.status_code) == (303, 303)
        if action == "cancel":
            self.cancels(subscription, page)
        else:
            self.keeps(subscription, page)

    def keeps(self, subscription: Subscription, by: object) -> None:
        before = subscription.before()
        subscription.is_canceling = False
        subscription.is_changed(by, before)
        assert self.open_cancellation(subscription) is None

    # --- Perma.cc's servers -------------------------------------------------------------------------

    @precondition(lambda self: any(self.model.offered(customer) for customer in CUSTOMERS))
    @rule(is_answered=st.sampled_from([True, True, False]))
    def credits(self, is_answered: bool) -> None:
        """Perma.cc credits what it is offered, and says so. The answer may not reach it."""
        self.comes_from("acknowledgement")
        offered = self.model.offered(CUSTOMERS[0]) or self.model.offered(CUSTOMERS[1])
        is_lost = patch.object(acknowledgement, "confirm_answered", lambda pk: None)
        with nullcontext() if is_answered else is_lost:
            assert self.ask("acknowledge-purchase", purchase_pk=offered[0].id).status_code == 200
        offered[0].is_credited = True
        assert self.ask("acknowledge-purchase", purchase_pk=offered[0].id).status_code == 400
        if not is_answered:
            self.acknowledged_in_doubt.append((self.now, offered[0]))

    @precondition(lambda self: self.model.purchases)
    @rule(purchase=which)
    def acknowledges(self, purchase: int) -> None:
        """Only the first acknowledgement counts, and only of something paid."""
        self.comes_from("acknowledgement")
        this = self.model.purchases[-1 - purchase % len(self.model.purchases)]
        reply = self.ask("acknowledge-purchase", purchase_pk=this.id)
        assert (reply.status_code == 200) == (this.is_paid and not this.is_credited)
        this.is_credited = this.is_paid

    # --- CyberSource --------------------------------------------------------------------------------

    @precondition(lambda self: self.checkouts)
    @rule(
        checkout=which, answer=answers, way=ways, skew=skews, same_charge=st.booleans(), with_token=st.booleans()
    )
    def is_answered_again(
        self, checkout: int, answer: str, way: Way, skew: int, same_charge: bool, with_token: bool
    ) -> None:
        """CyberSource answers to any checkout, perhaps once more: to another attempt, or about the same charge."""
        this = self.checkouts[-1 - checkout % len(self.checkouts)]
        self.comes_from()
        self.answers(this, answer, way, skew, same_charge=same_charge, with_token=with_token)

    def answers(
        self,
        this: Checkout,
        answer: str,
        way: Way,
        skew: int,
        *,
        same_charge: bool = False,
        with_token: bool = True,
    ) -> Response | None:
        """CyberSource makes a response, which comes one way or another. Not every checkout gets every answer."""
        is_lost = way is Way.LOST
        sale_only = SALE_ANSWERS.get(answer)
        if sale_only and not this.is_sale:
            return None
        decision, changes, says = sale_only or ANSWERS[answer]
        changes = dict(changes)
        if changes.get("transaction_id") == "1":
            changes["transaction_id"] = cyber_source.transaction_id()
        earlier = [each for each in self.responses if each.checkout is this and each.says == says == "granted"]
        if same_charge and earlier:
            names = ("transaction_id", "payment_token")
            changes |= {name: earlier[-1].fields.get(name, ...) for name in names}
        elif this.kind in ("update", "change") and decision in ("ACCEPT", "REVIEW") and with_token:
            changes["payment_token"] = cyber_source.transaction_id()
        if is_lost:
            changes["req_transaction_uuid"] = str(uuid.uuid4())
        self.passes(timedelta(seconds=1))
        signed_at = (self.now + timedelta(seconds=skew)).replace(microsecond=0)
        changes["signed_date_time"] = f"{signed_at:%Y-%m-%dT%H:%M:%SZ}"
        fields = cyber_source.response(this.form, decision, **changes)
        response = Response(this, fields, says, signed_at, is_unmatched=is_lost)
        self.responses.append(response)
        if says == "granted" and isinstance(this.subject, Subscription) and response.token:
            self.issued.setdefault(this.subject, set()).add(response.token)
        if way is not Way.LATER:
            path = "/return/" if way is Way.BY_BROWSER else "/cybersource-callback/"
            self.arrives(response, path, fails=way is Way.BROKEN)
        return response

    @precondition(lambda self: self.responses)
    @rule(
        response=which,
        path=st.sampled_from(["/cybersource-callback/", "/return/"]),
        fails=st.sampled_from([False, False, False, True]),
    )
    def is_delivered(self, response: int, path: str, fails: bool) -> None:
        """A response arrives, perhaps late, or again, and perhaps it cannot be applied now."""
        self.comes_from()
        self.arrives(self.responses[-1 - response % len(self.responses)], path, fails)

    def arrives(self, response: Response, path: str, fails: bool) -> None:
        self.origins.add(ORIGINS["cybersource"])
        known = self.received.setdefault(response.identity, response)
        if known.received_at is None:
            known.received_at = self.now
            known.checkout.answered.add(known.decision)
        broken = patch.object(apply, "apply_response", side_effect=OperationalError("taken away"))
        with broken if fails else nullcontext():
            reply = self.post(path, response.fields)
        if fails and not known.is_applied:
            self.model.tasks.add(("not applied", known.transaction_id, known.decision))
        elif not known.is_applied:
            self.model.apply(known)
        if path == "/return/":
            assert reply.status_code == 303
            self.is_told_the_truth(known, parse_qs(urlsplit(reply["Location"]).query))
        else:
            assert reply.status_code == 200

    def is_told_the_truth(self, response: Response, query: dict[str, list[str]]) -> None:
        """What the customer's browser is sent back with."""
        checkout = response.checkout
        ending = query.get("subscription") or query.get("purchase")
        if ending == ["success"]:
            assert response.says == "granted" and (not response.is_applied or checkout.charges)
        elif ending == ["canceled"]:
            assert not checkout.charges and checkout.answered <= {"CANCEL", "DECLINE"}

    # --- Time, and the scheduler --------------------------------------------------------------------

    @rule(
        time=st.sampled_from(
            [
                timedelta(minutes=16),
                timedelta(hours=2),
                timedelta(days=1, hours=1),
                timedelta(days=9),
                timedelta(days=60),
            ]
        )
    )
    def time_passes(self, time: timedelta) -> None:
        self.passes(time)

    @precondition(lambda self: self.model.subscriptions)
    @rule(
        subscription=which,
        after=st.sampled_from([timedelta(microseconds=-1), timedelta(0), timedelta(hours=9), timedelta(days=1)]),
    )
    def due_date_comes(self, subscription: int, after: timedelta) -> None:
        this = self.model.subscriptions[-1 - subscription % len(self.model.subscriptions)]
        self.now = midnight(this.first_due_after((self.now + timedelta(seconds=1)).date())) + after

    @rule()
    def scheduler_runs(self) -> None:
        self.comes_from("scheduler", "cybersource")
        for job in (jobs.purge_expired, jobs.apply_responses, expect_report):
            self.a_new_transaction_begins()
            job(now=self.now)
        unapplied = [each for each in self.received.values() if not each.is_applied]
        for response in sorted(unapplied, key=lambda each: each.received_at or self.now):
            self.model.apply(response)
        assert not models.Response.objects.filter(applied_at=None).exists()
        for acknowledged_at, purchase in self.acknowledged_in_doubt:
            if self.now - acknowledged_at >= timedelta(minutes=1):
                assert models.StaffTask.objects.filter(
                    kind="acknowledgement in doubt", purchase=purchase.id
                ).exists()

    # --- Status reports -----------------------------------------------------------------------------

    def known_to_cybersource(self) -> list[Subscription]:
        """The subscriptions that were charged, whether or not we have heard of it."""
        charged = [
            each.checkout.subject
            for each in self.responses
            if each.says == "granted" and each.checkout.kind == "subscribe"
        ]
        return [each for each in self.model.subscriptions if each in charged]

    @precondition(lambda self: self.known_to_cybersource())
    @rule(
        words=st.lists(st.sampled_from(["CURRENT", "CURRENT", None, *WORDS]), min_size=4, max_size=4),
        days_old=st.sampled_from([0, 0, 1, 3]),
        next_charge=st.sampled_from([None, None, 0, 2]),
        is_confirmed=st.sampled_from([True, True, True, False]),
    )
    def report_is_uploaded(
        self, words: list[str | None], days_old: int, next_charge: int | None, is_confirmed: bool
    ) -> None:
        """Staff upload the list of CyberSource's subscriptions, perhaps cut off, and confirm it now or later."""
        self.comes_from("report")
        made_on = self.now.date() - timedelta(days=days_old)
        rows: list[tuple[Subscription, str, date | None]] = []
        lines = [f"Date: {made_on}", "", "Subscription ID,Merchant Reference Code,Status,Next Scheduled Date"]
        for subscription, word in zip(self.known_to_cybersource()[-4:], words, strict=False):
            if word is None:
                continue
            next_one = None
            if next_charge is not None:
                next_one = subscription.first_due_after(made_on) + timedelta(days=next_charge)
            rows.append((subscription, word, next_one))
            tokens = [
                each.token
                for each in self.responses
                if each.checkout.subject is subscription
                and each.checkout.kind == "subscribe"
                and each.says == "granted"
            ]
            lines.append(f"{tokens[-1]},{subscription.reference_number},{word},{next_one or ''}")
        if not rows:
            return
        self.passes(timedelta(seconds=1))
        planned = plan_report("\n".join(lines).encode(), by=self.staff, now=self.now)
        report = Report(planned.pk, rows)
        self.reports.append(report)
        if is_confirmed:
            self.confirms(report)
            assert report.is_applied

    @precondition(lambda self: self.reports)
    @rule(report=which, step=st.sampled_from(["confirms", "undoes", "undoes", "discards"]))
    def report_is_looked_at_again(self, report: int, step: str) -> None:
        """An old preview may be stale: then nothing is applied, and the new preview can be."""
        getattr(self, step)(self.reports[-1 - report % len(self.reports)])

    def confirms(self, report: Report) -> None:
        self.comes_from("report")
        planned = models.StatusReport.objects.get(pk=report.pk)
        checks = required_checks(planned)
        try:
            apply_report(report.pk, revision=planned.revision, by=self.staff, checks=checks, now=self.now)
        except CannotBeDone:
            return
        assert not report.is_applied
        report.is_applied = True
        for subscription, word, next_charge_on in report.rows:
            status, is_proven = WORDS[word]
            before = subscription.before()
            subscription.status = status
            if status == "Canceled":
                subscription.is_canceling = False
            if status in ("Current", "Hold", "Canceled"):
                subscription.in_force = subscription.in_force or subscription.asked
                if is_proven and next_charge_on:
                    subscription.next_charge_on = next_charge_on
            subscription.is_changed(report, before)

    def undoes(self, this: Report) -> None:
        self.comes_from("revert")
        try:
            revert_report(this.pk, by=self.staff, now=self.now)
        except CannotBeDone:
            return
        assert this.is_applied
        this.is_applied = False
        for subscription, _, _ in this.rows:
            if any(by is this for by, _ in subscription.changes):
                by, before = subscription.changes.pop()
                assert by is this, "something else has changed it since"
                for name, value in before.items():
                    setattr(subscription, name, value)

    def discards(self, this: Report) -> None:
        self.comes_from("report")
        try:
            discard_report(this.pk, by=self.staff, now=self.now)
        except CannotBeDone:
            return
        assert not this.is_applied

    # --- Staff --------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.subscriptions)
    @rule(
        subscription=which,
        status=st.sampled_from(["Current", "Hold", "Canceled", "Completed"]),
        days=st.sampled_from([None, 3, 40]),
    )
    def subscription_is_corrected(self, subscription: int, status: str, days: int | None) -> None:
        self.comes_from("staff")
        this = self.model.subscriptions[-1 - subscription % len(self.model.subscriptions)]
        row = models.SubscriptionAgreement.objects.get(reference_number=this.reference_number)
        until = row.covered_until if days is None else midnight(self.now.date() + timedelta(days=days))
        before = this.before()
        try:
            corrections.correct_agreement(
                row.pk,
                status=Status(status),
                covered_until=until,
                seen=row.updated_at,
                by=self.staff,
                reason="Asked for.",
                now=self.now,
            )
        except corrections.CannotCorrect:
            return
        this.status = status
        if status == "Canceled":
            this.is_canceling = False
        if status in ("Current", "Hold", "Canceled"):
            this.in_force = this.in_force or this.asked
        this.changes.append(("staff", before))

    @precondition(lambda self: self.model.purchases)
    @rule(purchase=which, is_credited=st.booleans())
    def purchase_is_corrected(self, purchase: int, is_credited: bool) -> None:
        self.comes_from("staff")
        this = self.model.purchases[-1 - purchase % len(self.model.purchases)]
        row = models.Purchase.objects.get(pk=this.id)
        try:
            corrections.correct_purchase(
                row.pk, credited=is_credited, seen=row.updated_at, by=self.staff, reason="Asked for.", now=self.now
            )
        except corrections.CannotCorrect:
            return
        assert this.is_paid and this.is_credited != is_credited
        this.is_credited = is_credited

    @precondition(lambda self: any(each.says == "granted" for each in self.responses))
    @rule(response=which)
    def payment_is_recorded(self, response: int) -> None:
        """Staff record a charge that the Business Center shows, whose response has not come."""
        self.comes_from("staff", "cybersource")
        granted = [each for each in self.responses if each.says == "granted"]
        granted.sort(key=lambda each: each.received_at is None)
        this = granted[-1 - response % len(granted)]
        checkout = this.checkout
        outgoing = models.OutgoingTransaction.objects.get(transaction_uuid=checkout.form["transaction_uuid"])
        paid_on = this.signed_at.date()
        try:
            recovery.record_payment(
                outgoing.pk,
                transaction_id=this.transaction_id,
                amount=Decimal(checkout.form.get("amount", "0.00")),
                paid_on=paid_on,
                reference_number=checkout.form["reference_number"],
                by=self.staff,
                reason="The Business Center shows it.",
                now=self.now,
            )
        except corrections.CannotCorrect:
            is_new = all(each.transaction_id != this.transaction_id for each in self.received.values())
            is_waiting = any(not each.is_applied and each.checkout is checkout for each in self.received.values())
            assert checkout.kind == "update" or checkout.charges or not is_new or is_waiting
            return
        assert not checkout.charges
        moment = min(max(midnight(paid_on), checkout.begun_at), self.now)
        fields = {"decision": "ACCEPT", "transaction_id": this.transaction_id}
        recorded = Response(checkout, fields, "granted", moment, received_at=moment)
        self.received["recorded", this.transaction_id] = recorded
        self.model.apply(recorded)

    @precondition(lambda self: any(each.is_unmatched for each in self.received.values()))
    @rule(response=which)
    def response_is_matched(self, response: int) -> None:
        self.comes_from("staff", "cybersource")
        unmatched = [each for each in self.received.values() if each.is_unmatched and each.is_applied]
        if not unmatched:
            return
        this = unmatched[-1 - response % len(unmatched)]
        row = models.Response.objects.get(transaction_uuid=this.fields["req_transaction_uuid"])
        uuid_of_checkout = uuid.UUID(this.checkout.form["transaction_uuid"])
        try:
            corrections.match_response(
                row.pk, transaction_uuid=uuid_of_checkout, by=self.staff, reason="It is this one.", now=self.now
            )
        except corrections.CannotCorrect:
            assert this.fields["req_reference_number"] != this.checkout.form["reference_number"]
            return
        this.is_unmatched = False
        self.model.apply(this)

    @rule(task=which, is_withdrawn=st.booleans())
    def task_is_ended(self, task: int, is_withdrawn: bool) -> None:
        self.comes_from("staff")
        tasks = list(models.StaffTask.objects.filter(done_at=None).order_by("-id"))
        if not tasks:
            return
        this = tasks[task % len(tasks)]
        end = staff_tasks.withdraw if is_withdrawn else staff_tasks.finish
        end(this.pk, by=self.staff, note="Looked at it.", now=self.now)
        if is_withdrawn and this.kind == "cancellation":
            assert this.agreement is not None
            self.keeps(self.subscription(this.agreement.reference_number), this)

    @rule(task=which)
    def task_is_reopened(self, task: int) -> None:
        self.comes_from("staff")
        tasks = list(models.StaffTask.objects.exclude(done_at=None).order_by("-id"))
        if not tasks:
            return
        this = tasks[task % len(tasks)]
        try:
            staff_tasks.reopen(this.pk, by=self.staff, note="Not done after all.", now=self.now)
        except staff_tasks.CannotReopen:
            return
        if this.kind == "cancellation":
            assert this.agreement is not None
            assert self.subscription(this.agreement.reference_number).is_canceling

    @precondition(lambda self: not self.is_frozen)
    @rule(customer=customers)
    def checkouts_are_frozen(self, customer: Customer) -> None:
        """Nobody gets to CyberSource, and what is on its way there still counts."""
        self.comes_from("staff")
        freeze.begin_freeze(by=self.staff, reason="Fraud.", now=self.now)
        self.is_frozen = True
        self.buys(customer, 10, 0, None)

    @precondition(lambda self: self.is_frozen)
    @rule()
    def checkouts_are_resumed(self) -> None:
        self.comes_from("staff")
        in_force = models.CheckoutFreeze.objects.in_force().get()
        freeze.end_freeze(in_force.pk, by=self.staff, reason="It is over.", now=self.now)
        self.is_frozen = False

    # --- What must be true --------------------------------------------------------------------------

    @invariant()
    def all_is_well(self) -> None:
        self.subscriptions_are_as_they_must_be()
        self.perma_is_told()
        self.history_of_purchases_is_told()
        if self.origins:
            self.all_money_is_accounted_for()
            self.history_gives_the_rows()
            self.a_new_transaction_begins()
        self.origins = set()

    def subscription(self, reference_number: str) -> Subscription:
        (found,) = (each for each in self.model.subscriptions if each.reference_number == reference_number)
        return found

    def subscriptions_are_as_they_must_be(self) -> None:
        """Those who paid have it, and nothing but a report or staff takes it away."""
        may_take_away = {ORIGINS[each] for each in ("report", "revert", "staff")}
        rows = {row.reference_number: row for row in models.SubscriptionAgreement.objects.all()}
        assert rows.keys() == {each.reference_number for each in self.model.subscriptions}
        for subscription in self.model.subscriptions:
            row = rows[subscription.reference_number]
            is_unpaid = row.status in ("Pending", "Rejected", "Aborted", "Abandoned")
            assert (UNPAID if is_unpaid else row.status) == subscription.status
            assert (row.cancellation_requested_at is not None) == subscription.is_canceling
            if subscription.status in ("Current", "Hold", "Canceled"):
                assert row.covered_until is not None
            if subscription.covered_until and not may_take_away & self.origins:
                assert row.covered_until >= subscription.covered_until
            subscription.covered_until = row.covered_until
            if row.payment_token:
                assert row.payment_token in self.issued[subscription]
            token = last_token(subscription)
            assert token is None or row.payment_token == token, "not the card that was given last"

    def perma_is_told(self) -> None:
        """Both clients can read the reply, and it says what the model says."""
        for customer in CUSTOMERS:
            fields = {"customer_pk": customer.pk, "customer_type": customer.type}
            reply = perma_cc.open_reply(self.ask("subscription", **fields).json())
            told, offered = read_status(reply, customer, self.now)
            standing = self.model.standing(customer, self.now)
            assert told == (standing[0].for_perma(self.now) if standing else None)
            assert offered == [(each.id, each.link_quantity) for each in self.model.offered(customer)]
            self.told[customer] = told
            if told and told["status"] in ("Current", "Cancellation Requested"):
                assert told["paid_through"] > self.now
            if told:
                self.knows_the_last_plan(standing[0], told)

    def knows_the_last_plan(self, subscription: Subscription, told: dict[str, Any]) -> None:
        """What is told to come is what CyberSource was told last."""
        last = last_change(subscription)
        if last is not None and subscription.status != "Canceled":
            assert last.checkout.wanted is not None
            assert (told["rate"], told["link_limit"]) == last.checkout.wanted.plan

    def history_of_purchases_is_told(self) -> None:
        for customer in {each.customer for each in self.model.purchases}:
            fields = {"customer_pk": customer.pk, "customer_type": customer.type}
            reply = perma_cc.open_reply(self.ask("purchase-history", **fields).json())
            told = read_history(reply, customer, self.now)
            paid = [each for each in self.model.purchases if each.customer == customer and each.is_paid]
            assert sorted(told) == sorted((each.id, each.link_quantity, each.reference_number) for each in paid)

    def all_money_is_accounted_for(self) -> None:
        """Each charge had its effect, once, or a person has a task about it."""
        tasks = models.StaffTask.objects.values_list(
            "kind", "response__transaction_id", "response__decision", "agreement__reference_number"
        )
        about_responses = {(kind, charge, decision) for kind, charge, decision, _ in tasks}
        assert not self.model.tasks - about_responses
        outcomes = models.Response.objects.exclude(applied_at=None).values_list(
            "transaction_id", "decision", "transaction_uuid", "recorded_by", "outcome"
        )
        granted: dict[str, set[str]] = {}
        for charge, decision, of, recorded_by, outcome in outcomes:
            if decision in ("ACCEPT", "REVIEW"):
                identity = ("recorded", charge) if recorded_by else (of, charge, decision, "")
                assert (outcome == "took effect") == self.received[identity].took_effect
                granted.setdefault(charge, set()).add(outcome)
        with_task = {charge for _, charge, _ in about_responses}
        assert all("took effect" in found or charge in with_task for charge, found in granted.items())
        for checkout in self.checkouts:
            assert not checkout.is_sale or len(checkout.charges) <= 1
        for customer in CUSTOMERS:
            alive = [each.reference_number for each in self.model.alive(customer)]
            of_customer = [each.reference_number for each in self.model.subscriptions if each.customer == customer]
            second = sum(kind == "second subscription" and of in of_customer for kind, _, _, of in tasks)
            assert second >= len(alive) - 1
        canceling = {each.reference_number for each in self.model.subscriptions if each.is_canceling}
        assert canceling <= {of for kind, _, _, of in tasks if kind == "cancellation"}

    def history_gives_the_rows(self) -> None:
        """The events since the last step, replayed, give each row, and each says whose doing it was."""
        for model in TRACKED:
            events = model.pgh_event_model
            columns = [each.attname for each in events._meta.concrete_fields if not each.name.startswith("pgh_")]
            replayed = self.replayed[model]
            for event in events.objects.filter(pgh_id__gt=self.last_event[model]).order_by("pgh_id"):
                snapshot = {column: getattr(event, column) for column in columns}
                assert (event.pgh_label == "insert") == (event.pgh_obj_id not in replayed)
                assert event.pgh_context is not None, f"{events.__name__}: nobody's doing"
                assert event.pgh_context["source"] in self.origins
                replayed[event.pgh_obj_id] = snapshot
                self.last_event[model] = event.pgh_id
            rows = {row["id"]: row for row in model.objects.values(*columns)}
            assert replayed == rows
