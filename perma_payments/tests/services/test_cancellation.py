"""A customer wants the subscription to end."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User

from perma_payments.admin.mails import task_mail
from perma_payments.billing.transactions import Kind
from perma_payments.models import StaffTask, SubscriptionAgreement
from perma_payments.models.history import HistorySource
from perma_payments.perma.messages import UpdateMessage
from perma_payments.services import staff_tasks
from perma_payments.services.cancellation import TooLateToKeep, request_cancellation, take_cancellation_back
from perma_payments.services.checkouts.begin import update
from perma_payments.services.checkouts.modifiable import NothingToModify
from perma_payments.services.checkouts.used_messages import MessageUsedUp
from perma_payments.services.perma_queries import standing_subscription

from .. import records
from ..mail_server import hanging_mail_server
from ..records import INDIVIDUAL, REGISTRAR

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def cancel(nonce: bytes | None = None, *, now: datetime = NOW) -> None:
    request_cancellation(REGISTRAR, nonce=nonce or secrets.token_bytes(24), now=now)


def test_a_request_is_recorded_shown_and_opens_a_task():
    agreement = records.standing_agreement()
    cancel()

    agreement.refresh_from_db()
    assert (agreement.status, agreement.cancellation_requested_at) == ("Current", NOW)
    assert standing_subscription(REGISTRAR, now=NOW).status == "Cancellation Requested"
    task = StaffTask.objects.get()
    assert (task.kind, task.agreement, task.opened_at, task.notified_at) == ("cancellation", agreement, NOW, None)


def test_the_history_says_that_the_customer_asked():
    agreement = records.standing_agreement()
    cancel()

    assert agreement.events.last().pgh_context == {"source": HistorySource.CUSTOMER_REQUEST}


@pytest.mark.parametrize("same_message", [True, False])
def test_a_second_request_changes_nothing(same_message):
    agreement = records.standing_agreement()
    nonce = secrets.token_bytes(24)
    cancel(nonce)
    cancel(nonce if same_message else None, now=NOW + timedelta(hours=1))

    agreement.refresh_from_db()
    assert agreement.cancellation_requested_at == NOW
    assert StaffTask.objects.count() == 1


@pytest.mark.parametrize(
    "state",
    [
        {"status": "Canceled", "covered_until": NOW + timedelta(days=9)},
        {"status": "Pending"},
        {"status": "Superseded"},
    ],
)
def test_what_has_ended_cannot_be_canceled(state):
    records.standing_agreement(**state)
    records.standing_agreement(INDIVIDUAL)

    with pytest.raises(NothingToModify):
        cancel()
    assert not StaffTask.objects.exists()


def test_a_subscription_on_hold_can_be_canceled_and_stays_on_hold():
    records.standing_agreement(status="Hold")
    cancel()

    assert standing_subscription(REGISTRAR, now=NOW).status == "Hold"
    assert StaffTask.objects.count() == 1


def test_a_request_does_not_speak_to_the_mail_server(settings, post):
    records.standing_agreement()
    with hanging_mail_server(settings) as server:
        assert post("cancel-request").status_code == 302
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_the_customer_is_sent_back_to_perma(settings, post):
    records.standing_agreement()
    response = post("cancel-request")

    assert (response.status_code, response["Location"]) == (302, settings.PERMA_SUBSCRIPTION_PAGE)
    assert settings.PERMA_SUBSCRIPTION_PAGE.endswith("/settings/subscription/")


def test_the_repeated_request_is_answered_like_the_first(settings, post):
    records.standing_agreement()

    assert [post("cancel-request").status_code for _ in range(2)] == [302, 302]


def test_a_customer_without_a_subscription_gets_a_page(post):
    response = post("cancel-request")

    assert response.status_code == 200
    assert b"There is no subscription to change" in response.content


def test_a_repeated_request_asks_for_nothing_after_withdrawal():
    records.standing_agreement()
    nonces = [secrets.token_bytes(24) for _ in range(2)]  # two tabs
    for nonce in nonces:
        cancel(nonce)
    task = StaffTask.objects.get()
    staff_tasks.withdraw(task.pk, by=User.objects.create_user("staff"), note="They called.", now=NOW)
    for nonce in nonces:
        cancel(nonce)

    assert standing_subscription(REGISTRAR, now=NOW).status == "Current"
    assert StaffTask.objects.count() == 1


def test_a_new_request_after_one_marked_as_done_opens_a_task():
    records.standing_agreement()
    cancel()
    task = StaffTask.objects.get()
    staff_tasks.finish(task.pk, by=User.objects.create_user("staff"), note="By mistake.", now=NOW)
    cancel(now=NOW + timedelta(days=1))

    assert StaffTask.objects.filter(done_at=None).count() == 1


def test_a_message_that_has_begun_a_checkout_cancels_nothing():
    agreement = records.standing_agreement()
    nonce = bytes(records.outgoing(Kind.UPDATE, agreement).message_nonce)

    with pytest.raises(MessageUsedUp, match=r"^it has begun a checkout$"):
        cancel(nonce)
    assert not StaffTask.objects.exists()


def test_a_message_that_has_canceled_begins_no_checkout():
    records.standing_agreement()
    nonce = secrets.token_bytes(24)
    cancel(nonce)

    with pytest.raises(MessageUsedUp, match=r"^it was about a cancellation$"):
        update(UpdateMessage(customer=REGISTRAR), nonce=nonce, now=NOW)


# --- Taking it back ---------------------------------------------------------------------------------


def keep(nonce: bytes | None = None, *, now: datetime = NOW) -> None:
    take_cancellation_back(REGISTRAR, nonce=nonce or secrets.token_bytes(24), now=now)


def test_taking_it_back_ends_the_task_and_the_request():
    agreement = records.standing_agreement()
    before = standing_subscription(REGISTRAR, now=NOW)
    cancel()
    keep(now=NOW + timedelta(hours=1))

    assert standing_subscription(REGISTRAR, now=NOW) == before
    task = StaffTask.objects.get()
    assert (task.done_at, task.resolution, task.done_by) == (NOW + timedelta(hours=1), "taken back", None)
    assert agreement.events.last().pgh_context == {"source": HistorySource.CUSTOMER_REQUEST}


def test_it_can_be_canceled_again_afterward():
    records.standing_agreement()
    cancel()
    keep()
    cancel(now=NOW + timedelta(hours=1))

    assert standing_subscription(REGISTRAR, now=NOW).status == "Cancellation Requested"
    assert StaffTask.objects.filter(done_at=None).count() == 1


def test_taking_nothing_back_changes_nothing():
    agreement = records.standing_agreement()
    keep()

    assert agreement.events.count() == 1
    assert not StaffTask.objects.exists()


def staff_are_done() -> None:
    staff_tasks.finish(StaffTask.objects.get().pk, by=User.objects.create_user("staff"), note="Done.", now=NOW)


@pytest.mark.parametrize(
    "what_happened",
    [
        staff_are_done,
        lambda: SubscriptionAgreement.objects.update(status="Canceled"),
        lambda: SubscriptionAgreement.objects.update(status="Superseded"),
    ],
)
def test_it_is_too_late_once_staff_have_canceled_it(what_happened):
    agreement = records.standing_agreement()
    cancel()
    what_happened()
    before = list(agreement.events.values()), list(StaffTask.objects.values())

    with pytest.raises(TooLateToKeep):
        keep()
    assert (list(agreement.events.values()), list(StaffTask.objects.values())) == before


def test_what_was_taken_back_can_still_be_canceled_by_a_report_and_be_current_again():
    agreement = records.standing_agreement()
    cancel()
    keep()
    for status in ("Canceled", "Current"):
        SubscriptionAgreement.objects.update(status=status)
        assert standing_subscription(REGISTRAR, now=NOW).status == status
    assert agreement.tasks.filter(done_at=None).count() == 0


# --- Mail -------------------------------------------------------------------------------------------


def test_the_mail_about_what_was_taken_back_says_that_nothing_is_to_be_done():
    agreement = records.standing_agreement()
    cancel()
    keep()
    mail = task_mail(StaffTask.objects.get())

    assert mail.subject == f"Do not cancel: taken back by the customer: {agreement.reference_number}"
    assert "1. If you have not canceled the subscription in CyberSource: nothing." in mail.body


def test_the_mail_names_the_customers_other_subscriptions():
    records.standing_agreement()
    other = records.standing_agreement()
    cancel()

    assert f"The customer also has: {other.reference_number} (Current)" in task_mail(StaffTask.objects.get()).body


@pytest.mark.parametrize("who", ["customer", "staff"])
def test_a_subscription_that_is_kept_is_not_canceled_as_still_charged(who):
    agreement = records.standing_agreement()
    cancel()
    still_charged = StaffTask.objects.create(kind="still charged", agreement=agreement)
    if who == "customer":
        take_cancellation_back(REGISTRAR, nonce=secrets.token_bytes(24), now=NOW)
    else:
        task = StaffTask.objects.get(kind="cancellation")
        staff_tasks.withdraw(task.pk, by=User.objects.create_user("anne"), note="They stay.", now=NOW)

    still_charged.refresh_from_db()
    assert still_charged.resolution == "withdrawn"
