"""Staff correct by hand, in the admin."""

from collections.abc import Callable
from urllib.parse import urljoin
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from perma_payments.billing.transactions import Kind
from perma_payments.models import OutgoingTransaction, Purchase, Response, StaffTask
from perma_payments.services.callbacks.receive import receive_callback

from .. import cyber_source, records
from ..pages import heading, soup, words

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


def submit(staff: Client, page: HttpResponse, button: str = "", **changes: str) -> HttpResponse:
    """Fill in the form of a page, and press one of its buttons."""
    form = soup(page)
    fields = {field["name"]: field.get("value", "") for field in form.select("#content-main input")}
    for select in form.select("#content-main select"):
        fields[select["name"]] = select.select_one("[selected]")["value"]
    for area in form.select("#content-main textarea"):
        fields[area["name"]] = area.get_text()
    fields |= dict(changes.items())
    if button:
        assert form.select_one(f"button[name={button}]")
        fields[button] = "yes"
    return staff.post(page.request["PATH_INFO"], fields, follow=True)


def test_a_subscription_is_corrected_after_a_preview(log_in):
    staff = log_in("view_subscriptionagreement", "correct_agreement")
    agreement = records.standing_agreement()
    url = f"/admin/perma_payments/subscriptionagreement/{agreement.pk}/correct/"
    assert "../correct/" in staff.get(url.replace("correct", "change")).content.decode()

    look = submit(staff, staff.get(url), status="Hold", covered_until="2031-12-31", reason="The bank called.")
    said = words(look)
    assert "Status Hold Paid for until 2031-12-31 Reason The bank called." in said
    assert "What Perma.cc and staff will see for Registrar 7 Now After the correction" in said
    assert "Status Current Hold" in said and "2031-12-31 00:00 UTC" in said
    agreement.refresh_from_db()
    assert agreement.status == "Current"

    assert "Corrected." in words(submit(staff, look, "confirm"))
    agreement.refresh_from_db()
    assert (agreement.status, agreement.covered_until.year) == ("Hold", 2031)


def test_the_preview_shows_which_tasks_would_end(log_in):
    staff = log_in("view_subscriptionagreement", "correct_agreement")
    agreement = records.standing_agreement(cancellation_requested_at=timezone.now())
    StaffTask.objects.create(kind="cancellation", agreement=agreement)
    page = staff.get(f"/admin/perma_payments/subscriptionagreement/{agreement.pk}/correct/")

    said = words(submit(staff, page, status="Canceled", reason="x"))
    assert f"Open tasks for staff Cancel a subscription in CyberSource ({agreement}) none" in said


def test_the_preview_shows_which_tasks_would_open(log_in):
    staff = log_in("view_subscriptionagreement", "correct_agreement")
    records.standing_agreement()
    ended = records.standing_agreement(status="Completed", payment_token="")
    page = staff.get(f"/admin/perma_payments/subscriptionagreement/{ended.pk}/correct/")
    said = words(submit(staff, page, status="Current", reason="x"))
    assert f"Cancel and refund one of a customer's two subscriptions ({ended})" in said
    assert f"Find the token of a paid subscription ({ended})" in said
    assert not StaffTask.objects.exists()


def test_a_preview_that_is_out_of_date_is_shown_again(log_in):
    staff = log_in("view_subscriptionagreement", "correct_agreement")
    agreement = records.standing_agreement(status="Completed")
    page = staff.get(f"/admin/perma_payments/subscriptionagreement/{agreement.pk}/correct/")
    look = submit(staff, page, status="Current", reason="x")
    records.standing_agreement()

    again = submit(staff, look, "confirm")
    assert "Not corrected yet: the effects have changed." in words(again)
    assert "Cancel and refund one of a customer's two subscriptions" in words(again)
    agreement.refresh_from_db()
    assert agreement.status == "Completed"
    assert "Corrected." in words(submit(staff, again, "confirm"))


def test_a_previewed_correction_can_be_edited(log_in):
    staff = log_in("view_subscriptionagreement", "correct_agreement")
    agreement = records.standing_agreement()
    url = f"/admin/perma_payments/subscriptionagreement/{agreement.pk}/correct/"
    form = submit(staff, submit(staff, staff.get(url), status="Hold", reason="x"), "edit")

    look = submit(staff, form, status="Completed")
    assert "Subscription" in words(look) and "none" in words(look)
    submit(staff, look, "confirm")
    agreement.refresh_from_db()
    assert agreement.status == "Completed"


def test_a_change_since_the_preview_is_not_overwritten(log_in):
    staff = log_in("view_subscriptionagreement", "correct_agreement")
    agreement = records.standing_agreement()
    page = staff.get(f"/admin/perma_payments/subscriptionagreement/{agreement.pk}/correct/")
    look = submit(staff, page, status="Hold", reason="x")
    agreement.current_link_limit = "7"
    agreement.save()

    said = words(submit(staff, look, "confirm"))
    assert "has changed since you opened this page" in said and "Start over" in said
    agreement.refresh_from_db()
    assert agreement.status == "Current"


@pytest.mark.django_db(transaction=True)
def test_a_correction_does_not_wait_long_for_a_lock(log_in, impatient, held_elsewhere):
    staff = log_in("view_subscriptionagreement", "correct_agreement")
    agreement = records.standing_agreement()
    page = staff.get(f"/admin/perma_payments/subscriptionagreement/{agreement.pk}/correct/")
    with held_elsewhere(agreement):
        said = words(submit(staff, page, status="Hold", reason="x"))

    assert "Not corrected: someone else is changing it." in said
    agreement.refresh_from_db()
    assert agreement.status == "Current"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"reason": ""}, "This field is required."),
        ({"status": "Active"}, "Select a valid choice."),
        ({"covered_until": "soon"}, "Enter a valid date."),
        ({"seen": "never"}, "Please start over."),
        ({"seen": ""}, "This field is required."),
    ],
)
def test_an_invalid_correction_gets_a_sentence(log_in, change, sentence):
    staff = log_in("view_subscriptionagreement", "correct_agreement")
    agreement = records.standing_agreement()
    page = staff.get(f"/admin/perma_payments/subscriptionagreement/{agreement.pk}/correct/")

    said = words(submit(staff, page, **{"status": "Hold", "reason": "x", "confirm": "yes", **change}))
    assert sentence in said
    assert agreement.events.count() == 1


def test_a_purchase_is_offered_again(log_in):
    staff = log_in("view_purchase", "correct_purchase")
    purchase = records.paid_purchase(acknowledged_at=timezone.now())
    page = staff.get(f"/admin/perma_payments/purchase/{purchase.pk}/correct/")
    look = submit(staff, page, credited="no", reason="Lost.")
    assert f"Links to be credited none 10 (purchase {purchase.pk})" in words(look)
    assert "Corrected." in words(submit(staff, look, "confirm"))
    purchase.refresh_from_db()
    assert purchase.acknowledged_at is None

    again = staff.get(f"/admin/perma_payments/purchase/{purchase.pk}/correct/")
    assert "Not corrected: There is nothing to correct" in words(
        submit(staff, again, credited="no", reason="Again.")
    )


def offers_correction(staff: Client, row: Purchase | Response) -> bool:
    page = staff.get(f"/admin/perma_payments/{row._meta.model_name}/{row.pk}/change/")
    return b'href="../correct/"' in page.content


def test_only_a_paid_purchase_is_offered_for_correction(log_in):
    staff = log_in("view_purchase", "correct_purchase")

    assert offers_correction(staff, records.paid_purchase())
    assert not offers_correction(staff, records.purchase())


def test_only_an_unmatched_response_is_offered_for_correction(log_in):
    staff = log_in("view_response", "correct_response")
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    matched, unmatched = cyber_source.response(form), cyber_source.response(form, req_transaction_uuid="lost")

    assert offers_correction(staff, receive_callback(b"body", list(unmatched.items()), now=timezone.now()))
    assert not offers_correction(staff, receive_callback(b"body", list(matched.items()), now=timezone.now()))


def test_an_unmatched_response_is_matched(log_in):
    staff = log_in("view_response", "correct_response")
    outgoing = records.outgoing(Kind.SUBSCRIBE)
    fields = cyber_source.response(records.form(outgoing), req_transaction_uuid="lost")
    response = receive_callback(b"body", list(fields.items()), now=timezone.now())
    page = staff.get(f"/admin/perma_payments/response/{response.pk}/correct/")

    look = submit(staff, page, transaction_uuid=str(outgoing.transaction_uuid), reason="Found.")
    assert "What Perma.cc and staff will see for Registrar 7" in words(look)
    assert f"Open tasks for staff {StaffTask.objects.get()} none" in words(look)
    assert f"Subscription none {outgoing.agreement.reference_number}" in words(look)
    response.refresh_from_db()
    assert response.outgoing is None
    assert "Corrected." in words(submit(staff, look, "confirm"))
    outgoing.agreement.refresh_from_db()
    assert outgoing.agreement.status == "Current"


def test_a_response_is_matched_only_with_our_transactions(log_in):
    staff = log_in("view_response", "correct_response")
    fields = cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE)), req_transaction_uuid="lost")
    response = receive_callback(b"body", list(fields.items()), now=timezone.now())
    page = staff.get(f"/admin/perma_payments/response/{response.pk}/correct/")

    said = words(submit(staff, page, transaction_uuid=str(uuid4()), reason="Found."))
    assert "Not corrected: None of our transactions has this uuid." in said


@pytest.mark.parametrize("table", ["subscriptionagreement", "purchase", "response"])
def test_correcting_takes_its_own_permission(log_in, table):
    url = f"/admin/perma_payments/{table}/1/correct/"
    staff = log_in(f"view_{table}")

    assert (staff.get(url).status_code, staff.post(url).status_code) == (403, 403)


@pytest.mark.parametrize("table", ["subscriptionagreement", "purchase", "response"])
def test_correcting_takes_permission_to_view(log_in, table):
    staff = log_in("correct_agreement", "correct_purchase", "correct_response")

    assert staff.get(f"/admin/perma_payments/{table}/1/correct/").status_code == 403


@pytest.mark.parametrize("table", ["subscriptionagreement", "purchase", "response"])
def test_correcting_a_missing_row_is_a_404(log_in, table):
    staff = log_in(f"view_{table}", "correct_agreement", "correct_purchase", "correct_response")

    assert staff.get(f"/admin/perma_payments/{table}/999999/correct/").status_code == 404


# --- Payments whose response never came -------------------------------------------------------------


@pytest.fixture
def lost() -> OutgoingTransaction:
    """A purchase of ten links for 15.00, begun now."""
    return records.outgoing(Kind.PURCHASE)


def pasted(outgoing: OutgoingTransaction, **changes: str) -> str:
    """The transaction as staff copy it from the Business Center."""
    row = {"reference_number": outgoing.reference_number, "amount": "15.00", **changes}
    return (
        "Merchant ID,Date and Time,Request ID,Merchant Reference Number,Last Name,First Name,Email Address,Amount,"
        "Currency,Account Suffix,Applications\n"
        f"example,{timezone.now():%b %d %Y %I:%M:%S %p},7408214003316000001234,{row['reference_number']},"
        f"Unmistakable,Erin,erin@customer.example,{row['amount']},USD,1111,Settlement"
    )


def test_a_purchase_leads_to_recording_its_payment(log_in, lost):
    staff = log_in("view_purchase", "view_outgoingtransaction", "correct_transaction")
    page = staff.get(f"/admin/perma_payments/purchase/{lost.purchase.pk}/change/")
    assert "Nothing, because this purchase is not known to be paid." in words(page)
    url = soup(page).find("a", string="Record as paid")["href"]

    form = staff.get(url)
    assert heading(form) == f"Record as paid: purchase {lost.reference_number}, $15.00"
    look = submit(staff, form, pasted=pasted(lost), reason="The customer called.")
    said = words(look)
    assert "Request ID 7408214003316000001234 Amount 15.00" in said
    assert f"Links to be credited none 10 (purchase {lost.purchase.pk})" in said
    assert "Unmistakable" not in look.content.decode()
    lost.purchase.refresh_from_db()
    assert lost.purchase.status == "Pending"
    done = submit(staff, look, "confirm")
    assert "Corrected." in words(done)
    assert heading(done) == f"Purchase of {lost.purchase.customer}"
    lost.purchase.refresh_from_db()
    assert lost.purchase.status == "Paid"


def test_a_change_leads_to_recording_its_payment(log_in):
    staff = log_in("view_subscriptionagreement", "view_outgoingtransaction", "correct_transaction")
    outgoing = records.outgoing(Kind.CHANGE)
    page = staff.get(f"/admin/perma_payments/subscriptionagreement/{outgoing.agreement.pk}/change/")
    assert "CyberSource has not told us that these were paid." in words(page)

    form = staff.get(soup(page).find("a", string="Record as paid")["href"])
    look = submit(staff, form, transaction_id="7408214003316000001234", reason="The customer called.")
    assert "Link limit 100 500" in words(look)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"pasted": "x"}, "There is no row with the names of the columns."),
        ({"transaction_id": ""}, "This field is required."),
        ({"transaction_id": "PERMA-1234-5678"}, "Enter a valid value."),
        ({"amount": "15.01"}, "The customer was asked to pay $15.00, not $15.01."),
        ({"amount": "-15.00"}, "greater than or equal to 0"),
        ({"paid_on": "2020-01-01"}, "was not paid on 2020-01-01"),
        ({"reason": ""}, "This field is required."),
    ],
)
def test_a_payment_that_does_not_fit_is_refused_in_a_sentence(log_in, lost, changes, why):
    staff = log_in("view_outgoingtransaction", "correct_transaction")
    page = staff.get(f"/admin/perma_payments/outgoingtransaction/{lost.pk}/correct/")
    values = {"transaction_id": "7408214003316000001234", "reason": "x", **changes}

    assert why in words(submit(staff, page, **values))
    assert not Response.objects.exists()


def test_a_pasted_transaction_of_another_purchase_is_refused(log_in, lost):
    staff = log_in("view_outgoingtransaction", "correct_transaction")
    page = staff.get(f"/admin/perma_payments/outgoingtransaction/{lost.pk}/correct/")

    refused = submit(staff, page, pasted=pasted(lost, reference_number="PERMA-0000-0000"), reason="x")
    assert f"That transaction is not about {lost.reference_number}." in words(refused)


def test_recording_a_payment_takes_its_own_permission(log_in, lost):
    staff = log_in("view_purchase", "view_outgoingtransaction")
    page = staff.get(f"/admin/perma_payments/purchase/{lost.purchase.pk}/change/")

    assert "Not known to be paid" in words(page)
    assert "Record as paid" not in words(page)
    assert staff.get(f"/admin/perma_payments/outgoingtransaction/{lost.pk}/correct/").status_code == 403


def test_an_unmatched_response_offers_its_checkouts_one_click_each(log_in):
    staff = log_in("view_response", "correct_response")
    outgoing = records.outgoing(Kind.PURCHASE)
    fields = cyber_source.response(records.form(outgoing), req_transaction_uuid="?")
    response = receive_callback(b"body", list(fields.items()), now=timezone.now())
    url = f"/admin/perma_payments/response/{response.pk}/change/"
    page = staff.get(url)
    link = soup(page).select_one("#candidates ~ ul a")
    assert link.get_text().startswith(f"Purchase of Registrar 7, {outgoing.reference_number}, $15.00, begun on")

    form = staff.get(urljoin(url, str(link["href"])))
    assert "Corrected." in words(submit(staff, submit(staff, form, reason="It fits."), "confirm"))
    outgoing.purchase.refresh_from_db()
    assert outgoing.purchase.status == "Paid"
