"""Staff correct by hand, in the admin."""
from collections.abc import Callable

import pytest
from bs4 import BeautifulSoup
from django.contrib.auth.models import Permission, User
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from perma_payments.billing.transactions import Kind
from perma_payments.services.receive_callback import receive_callback

from .. import cyber_source, ledger

pytestmark = pytest.mark.django_db

LogIn = Callable[..., Client]


@pytest.fixture
def log_in(client: Client) -> LogIn:
    """Log in as someone with some permissions."""
    def log_in(*permissions: str) -> Client:
        user = User.objects.create_user("staff", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(user)
        return client

    return log_in


def words(response: HttpResponse) -> str:
    return " ".join(BeautifulSoup(response.content, "html.parser").get_text(" ").split())


def test_a_subscription_is_corrected_after_a_look_at_what_perma_will_see(log_in):
    staff = log_in("view_subscriptionagreement", "correct_agreement")
    agreement = ledger.standing_agreement()
    page = f"/admin/perma_payments/subscriptionagreement/{agreement.pk}/correct/"
    assert "../correct/" in staff.get(page.replace("correct", "change")).content.decode()
    wanted = {"status": "Hold", "paid_through": "2031-12-31", "reason": "The bank called."}

    looked = words(staff.post(page, wanted))
    assert "What Perma.cc will see status Hold rate 45.00" in looked
    assert "paid_through 2031-12-31T23:59:59.000000Z" in looked
    agreement.refresh_from_db()
    assert agreement.status == "Current"

    assert "Corrected." in words(staff.post(page, {**wanted, "confirm": "yes"}, follow=True))
    agreement.refresh_from_db()
    assert agreement.status == "Hold"


@pytest.mark.parametrize(("change", "sentence"), [
    ({"reason": ""}, "This field is required."),
    ({"status": "Active"}, "Select a valid choice."),
    ({"paid_through": "soon"}, "Enter a valid date."),
])
def test_a_correction_that_makes_no_sense_gets_a_sentence_and_changes_nothing(log_in, change, sentence):
    staff = log_in("correct_agreement")
    agreement = ledger.standing_agreement()
    wanted = {"status": "Hold", "paid_through": "", "reason": "x", "confirm": "yes", **change}

    said = words(staff.post(f"/admin/perma_payments/subscriptionagreement/{agreement.pk}/correct/", wanted))
    assert sentence in said
    assert agreement.events.count() == 1


def test_a_purchase_is_offered_again(log_in):
    staff = log_in("view_purchase", "correct_purchase")
    purchase = ledger.paid_purchase(acknowledged_at=timezone.now())
    page = f"/admin/perma_payments/purchase/{purchase.pk}/correct/"
    assert "Corrected." in words(staff.post(page, {"credited": "no", "reason": "Lost."}, follow=True))
    purchase.refresh_from_db()
    assert purchase.acknowledged_at is None

    assert "Nothing was changed: That is how it is already." in words(
        staff.post(page, {"credited": "no", "reason": "Again."})
    )


def test_an_unplaced_response_is_placed(log_in):
    staff = log_in("view_response", "correct_response")
    outgoing = ledger.outgoing(Kind.SUBSCRIBE)
    fields = cyber_source.response(ledger.form(outgoing), req_transaction_uuid="lost")
    response = receive_callback(b"body", list(fields.items()), now=timezone.now())
    page = f"/admin/perma_payments/response/{response.pk}/correct/"
    wanted = {"transaction_uuid": str(outgoing.transaction_uuid), "reason": "Found."}

    assert "Corrected." in words(staff.post(page, wanted, follow=True))
    outgoing.agreement.refresh_from_db()
    assert outgoing.agreement.status == "Current"


@pytest.mark.parametrize("table", ["subscriptionagreement", "purchase", "response"])
def test_who_lacks_the_permission_can_correct_nothing(log_in, table):
    staff = log_in(f"view_{table}")

    for ask in (staff.get, staff.post):
        assert ask(f"/admin/perma_payments/{table}/1/correct/").status_code == 403


@pytest.mark.parametrize("table", ["subscriptionagreement", "purchase", "response"])
def test_what_is_not_there_cannot_be_corrected(log_in, table):
    staff = log_in("correct_agreement", "correct_purchase", "correct_response")

    assert staff.get(f"/admin/perma_payments/{table}/999999/correct/").status_code == 404
