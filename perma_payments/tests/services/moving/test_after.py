"""After the move: late responses find their checkouts, reports go on, and the command says what is wrong."""

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from perma_payments.models import OutgoingTransaction, Purchase, StaffTask, SubscriptionAgreement
from perma_payments.services.cancellation import open_cancellation
from perma_payments.services.status_reports.plan import plan_report

from ... import records
from ...business_center import report
from ...environments import start
from ...test_faults import url_of_test_database
from .old_world import TOKEN
from .test_import import moved


def test_a_late_response_to_a_checkout_of_the_old_service_takes_effect(old, settings, call_back):
    old.agreement("Pending", created_date=timezone.now())
    old.purchase(answered=False, created_date=timezone.now())
    moved(settings)

    for outgoing in OutgoingTransaction.objects.all():
        assert call_back(records.form(outgoing)).status_code == 200

    agreement = SubscriptionAgreement.objects.get()
    assert (agreement.status, agreement.current_rate, bool(agreement.payment_token)) == ("Current", 25, True)
    assert Purchase.objects.get().status == "Paid"
    assert not StaffTask.objects.exists()


def test_a_response_that_the_old_service_had_already_changes_nothing_but_staff_look(old, settings, call_back):
    old.agreement()
    moved(settings)

    call_back(records.form(OutgoingTransaction.objects.get()))

    assert SubscriptionAgreement.objects.get().payment_token == TOKEN
    assert StaffTask.objects.get().kind == "duplicate charge"


def test_the_first_status_report_finds_every_subscription(old, settings, admin_user):
    old.agreement(cancellation_requested=True)
    old.agreement("Hold", customer_pk=8)
    moved(settings)
    rows = [(agreement.reference_number, agreement.status) for agreement in SubscriptionAgreement.objects.all()]

    planned = plan_report(report(*rows), by=admin_user, now=timezone.now())

    assert (planned.matched_count, planned.unknown_count) == (2, 0)
    assert open_cancellation(SubscriptionAgreement.objects.get(customer_pk=7)) is not None


def test_the_address_of_the_old_database_can_be_in_a_file(old, tmp_path):
    row = old.agreement("Active")
    (tmp_path / "address").write_text(f"{url_of_test_database()}_old\n")

    process = start(
        "manage.py",
        "import_legacy",
        DATABASE_URL=url_of_test_database(),
        LEGACY_DATABASE_URL_FILE=str(tmp_path / "address"),
    )

    assert f"subscriptionagreement.status is none of the values that it can have: 1 (id {row})" in process.stdout
    assert process.stderr.splitlines()[-1] == "CommandError: Nothing was imported. Rows that stop the import: 1."
    assert process.returncode == 1


def test_without_an_address_the_command_says_how_to_give_it(db):
    with pytest.raises(CommandError, match="Set LEGACY_DATABASE_URL to the address of the old service's database"):
        call_command("import_legacy")


@pytest.mark.parametrize("text", ["12", "agreements", "agreements:", "agreements:a", "users:1"])
def test_what_is_left_out_is_named_by_its_kind_and_ids(text):
    with pytest.raises(CommandError, match="is not like agreements:12,15 or purchases:7"):
        call_command("import_legacy", "--leave-out", text)
