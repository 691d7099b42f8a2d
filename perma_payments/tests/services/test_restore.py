"""Once the database was restored to an earlier moment, nothing is done twice that is known elsewhere."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from perma_payments.billing.transactions import Kind
from perma_payments.models import DatabaseRestore, OutgoingTransaction, Purchase, StaffTask, SubscriptionAgreement
from perma_payments.services.acknowledgement import NotAcknowledgeable, acknowledge_purchase
from perma_payments.services.callbacks.receive import receive_callback
from perma_payments.services.corrections import CannotCorrect, correct_purchase, offer_again
from perma_payments.services.perma_queries import standing_subscription, status_of
from perma_payments.services.recovery import record_payment
from perma_payments.services.restore import make_safe

from .. import cyber_source, records
from ..accounts import log_in
from ..business_center import TOKEN, report
from ..pages import words
from ..records import REGISTRAR
from .status_reports.steps import apply, plan

pytestmark = pytest.mark.django_db

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def _sequences_go_on_for_other_tests(db) -> Iterator[None]:
    """PostgreSQL does not roll sequences back."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sequencename, COALESCE(last_value, 1) FROM pg_sequences")
        before = cursor.fetchall()
        yield
        for sequence in before:
            cursor.execute("SELECT setval(%s, %s)", sequence)


@pytest.fixture
def now() -> datetime:
    """Something was recorded just before."""
    User.objects.create_user("before", last_login=timezone.now())
    return timezone.now()


@pytest.fixture
def frozen(settings):
    settings.CHECKOUTS_FROZEN = True


def offered() -> list[int]:
    return [purchase.id for purchase in status_of(REGISTRAR, now=timezone.now()).offered]


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


# --- What is made safe --------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [10_000, 50_000])
def test_no_id_is_issued_again_in_any_table(now, margin):
    before = records.paid_purchase()
    moved = make_safe(margin=margin, now=now).moved

    assert records.paid_purchase().pk > before.pk + margin
    assert records.agreement().events.get().pk > margin
    assert all(each.new >= each.old + max(margin, each.old) for each in moved)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_sequences WHERE schemaname = current_schema()")
        assert cursor.fetchone() == (len(moved),)


def test_what_perma_may_have_credited_is_not_offered_until_someone_has_looked(now):
    paid, unpaid = records.paid_purchase(), records.purchase()
    assert offered() == [paid.pk]

    assert make_safe(now=now).purchases == 1
    assert offered() == []
    task = StaffTask.objects.get(kind="acknowledgement in doubt")
    assert (task.purchase, task.opened_at) == (paid, now)
    assert paid.events.last().pgh_context == {"source": "restore"}
    with pytest.raises(NotAcknowledgeable):
        acknowledge_purchase(paid.pk, is_awaited=lambda: True, now=now)
    assert Purchase.objects.get(pk=unpaid.pk).acknowledged_at is None
    # Those that are paid from now on are offered.
    later = records.paid_purchase()
    assert offered() == [later.pk]


@pytest.mark.parametrize(("act", "is_offered"), [("finish", False), ("offer", True)])
def test_staff_say_on_the_task_whether_the_links_were_credited(client, now, act, is_offered):
    paid = records.paid_purchase()
    make_safe(now=now)
    task = StaffTask.objects.get(kind="acknowledgement in doubt")
    log_in(client, "view_stafftask", "change_stafftask", "correct_purchase")
    path = f"/admin/perma_payments/stafftask/{task.pk}/"
    assert "Done: not credited, so offer them again" in words(client.get(f"{path}change/"))

    client.post(f"{path}{act}/", {"note": "Looked."})
    client.post(f"{path}{act}/", {"note": "Twice."})
    task.refresh_from_db()
    assert (task.resolution, task.note) == ("done", "Looked.")
    assert (offered() == [paid.pk]) == is_offered


@pytest.mark.parametrize("is_credited", [False, True])
def test_what_was_offered_again_in_another_way_is_not_offered_once_more(now, is_credited):
    """Perma.cc may have credited it, or be about to."""
    paid, staff = records.paid_purchase(), User.objects.create_user("staff")
    make_safe(now=now)
    task = StaffTask.objects.get(kind="acknowledgement in doubt")
    seen = Purchase.objects.get().updated_at
    correct_purchase(paid.pk, credited=False, seen=seen, by=staff, reason="It was not.", now=now + HOUR)
    if is_credited:
        acknowledge_purchase(paid.pk, is_awaited=lambda: True, now=now + HOUR)

    with pytest.raises(CannotCorrect, match="was corrected after this task was opened"):
        offer_again(task.pk, by=staff, note="It was not.", now=now + 2 * HOUR)
    assert bool(offered()) != is_credited
    task.refresh_from_db()
    assert task.done_at is None


def test_only_those_who_may_correct_purchases_offer_one_again(client, now):
    records.paid_purchase()
    make_safe(now=now)
    task = StaffTask.objects.get(kind="acknowledgement in doubt")
    log_in(client, "view_stafftask", "change_stafftask")
    assert client.post(f"/admin/perma_payments/stafftask/{task.pk}/offer/", {"note": "x"}).status_code == 403


@pytest.mark.parametrize(("signed", "is_offered"), [(-HOUR, False), (HOUR, True)])
def test_a_payment_from_before_the_restore_may_have_been_credited(now, signed, is_offered):
    outgoing = records.outgoing(Kind.PURCHASE)
    make_safe(now=now)
    signed_at = f"{now + signed:%Y-%m-%dT%H:%M:%SZ}"
    fields = cyber_source.response(records.form(outgoing), signed_date_time=signed_at)
    receive_callback(b"body", list(fields.items()), now=now + HOUR)

    assert Purchase.objects.get().status == "Paid"
    assert bool(offered()) == is_offered
    assert StaffTask.objects.filter(kind="acknowledgement in doubt").exists() != is_offered


@pytest.mark.parametrize("route", ["subscribe", "purchase", "change"])
def test_a_page_from_before_the_restore_begins_no_checkout(post, now, route):
    if route == "change":
        records.standing_agreement()
    make_safe(now=now)
    assert "This page has expired" in words(post(route, timestamp=now.timestamp() - 1))
    assert not OutgoingTransaction.objects.exists()

    assert post(route, timestamp=time.time()).status_code == 200
    assert OutgoingTransaction.objects.exists()


def test_a_restore_that_a_clock_put_into_the_future_keeps_nobody_from_paying(post, now):
    """Nor does it keep the next restore from being recorded."""
    DatabaseRestore.objects.create(data_until=now, done_at=now + 100 * DAY)
    records.paid_purchase()
    assert post("subscribe", timestamp=time.time()).status_code == 200
    assert OutgoingTransaction.objects.exists()

    assert make_safe(now=timezone.now()).purchases == 1


def test_a_page_from_before_the_restore_still_cancels(post, now):
    """Perhaps for the second time: the first request may be lost."""
    agreement = records.standing_agreement()
    make_safe(now=now)
    assert post("cancel-request", timestamp=now.timestamp() - 1).status_code == 302

    agreement.refresh_from_db()
    assert agreement.cancellation_requested_at is not None


def test_all_logins_end(now):
    Session.objects.create(session_key="a", expire_date=now + DAY)

    assert make_safe(now=now).sessions == 1
    assert not Session.objects.exists()


def test_it_is_done_once_for_each_restore(now):
    records.paid_purchase()
    first = make_safe(now=now)
    again = make_safe(now=now + HOUR)
    assert (again.restore, again.moved, again.purchases, again.task) == (first.restore, [], 0, first.task)

    records.paid_purchase(created_at=now + DAY)
    another = make_safe(now=now + 2 * DAY)
    assert (another.restore.data_until, another.purchases) == (now + DAY, 1)
    assert DatabaseRestore.objects.count() == StaffTask.objects.filter(kind="restored").count() == 2


# --- The command ----------------------------------------------------------------------------------------


def test_the_command_says_what_it_did_and_what_to_compare(frozen):
    records.paid_purchase(created_at=timezone.now() - DAY)
    said = run("after_restore")
    gap = DatabaseRestore.objects.get()

    assert "perma_payments_purchase_id_seq" in said
    assert "each with a task: 1." in said
    assert f"between\n{gap.data_until:%Y-%m-%d %H:%M} UTC and {gap.done_at:%Y-%m-%d %H:%M} UTC is lost" in said
    assert "1. Cancellations" in said
    assert "Nothing was changed." in run("after_restore")


def test_the_command_refuses_while_checkouts_can_be_begun():
    records.paid_purchase()
    with pytest.raises(CommandError, match="First set CHECKOUTS_FROZEN=true"):
        run("after_restore")

    assert offered()


@pytest.mark.parametrize("ahead", [-2 * MINUTE, 2 * MINUTE])
def test_the_command_refuses_a_clock_that_is_wrong(frozen, monkeypatch, ahead):
    records.paid_purchase()
    wrong = timezone.now() + ahead
    monkeypatch.setattr(timezone, "now", lambda: wrong)
    with pytest.raises(CommandError, match="differ by more than a minute"):
        run("after_restore")

    assert not DatabaseRestore.objects.exists()


def test_the_command_refuses_a_role_that_owns_nothing(frozen):
    records.paid_purchase()
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE the_service")
        call_command("grant_access", "the_service", stdout=StringIO())
        cursor.execute("SET LOCAL ROLE the_service")
        with pytest.raises(CommandError, match="Use the role that owns the tables"):
            run("after_restore")
        cursor.execute("RESET ROLE")

    assert offered()


# --- What was lost ----------------------------------------------------------------------------------------

PLAN = ("customer_type=Registrar", "customer_pk=7", "amount=45.00", "recurring_amount=45.00", "link_limit=100")
SUBSCRIPTION = (*PLAN, "recurring_frequency=monthly", "recurring_start_date=2026-12-13")


def test_a_lost_subscription_is_recreated_and_recovered_by_a_report():
    run("recreate_checkout", "subscribe", "PERMA-1234-5678", "--on", "2026-11-13", *SUBSCRIPTION)
    agreement = SubscriptionAgreement.objects.get()
    assert (agreement.status, agreement.reference_number) == ("Pending", "PERMA-1234-5678")

    apply(plan(report((agreement, "CURRENT"))))
    agreement.refresh_from_db()
    assert (agreement.status, agreement.payment_token) == ("Current", TOKEN)
    told = standing_subscription(REGISTRAR, now=timezone.now())
    assert (told.reference_number, told.rate, told.link_limit) == ("PERMA-1234-5678", 45, "100")


def test_a_lost_purchase_is_recreated_and_its_payment_recorded(now):
    make_safe(now=now)
    day = f"{now - DAY:%Y-%m-%d}"
    fields = ("customer_type=Registrar", "customer_pk=7", "amount=15.00", "link_quantity=10")
    said = run("recreate_checkout", "purchase", "PERMA-1234-5678", "--on", day, *fields)
    assert "not paid: purchase PERMA-1234-5678, $15.00, of Registrar 7." in said

    outgoing = OutgoingTransaction.objects.get()
    record_payment(
        outgoing.pk,
        transaction_id="1",
        amount=outgoing.amount,
        paid_on=outgoing.created_at.date(),
        reference_number="PERMA-1234-5678",
        by=User.objects.create_user("anne"),
        reason="Lost.",
        now=now,
    )
    # Perma.cc may have credited it before it was lost here.
    assert (Purchase.objects.get().status, offered()) == ("Paid", [])
    assert StaffTask.objects.get(kind="acknowledgement in doubt").purchase == Purchase.objects.get()


def test_a_lost_change_is_recreated_for_the_subscription_that_stands():
    agreement = records.standing_agreement()
    change = [*PLAN[:3], "recurring_amount=90.00", "link_limit=500"]
    day = f"{timezone.now():%Y-%m-%d}"
    with pytest.raises(CommandError, match=f"The customer's subscription is {agreement}"):
        run("recreate_checkout", "change", "PERMA-1234-5678", "--on", day, *change)

    run("recreate_checkout", "change", agreement.reference_number, "--on", day, *change)
    outgoing = OutgoingTransaction.objects.get()
    assert (outgoing.agreement, outgoing.change_kind, outgoing.recurring_amount) == (agreement, "upgrade", 90)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reference": "known"}, "is known here: search for it"),
        ({"reference": "7"}, "is not one of our reference numbers"),
        ({"on": "2999-01-01"}, "is in the future"),
        ({"fields": PLAN}, "fields missing: recurring_frequency, recurring_start_date"),
        ({"fields": (*SUBSCRIPTION, "customer_pk=x")}, "customer_pk: not a whole number"),
    ],
)
def test_what_cannot_be_recreated(changes, said):
    known = records.agreement().reference_number
    reference = changes.get("reference", "PERMA-1234-5678").replace("known", known)
    with pytest.raises(CommandError, match=said):
        run(
            "recreate_checkout",
            "subscribe",
            reference,
            "--on",
            changes.get("on", "2026-11-13"),
            *changes.get("fields", SUBSCRIPTION),
        )

    assert not OutgoingTransaction.objects.exists()
