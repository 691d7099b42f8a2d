"""The limits of the parts leave room for the whole: CyberSource waits ten seconds for its answer, Perma.cc two."""

from perma_payments.postgres import base
from perma_payments.services import acknowledgement
from perma_payments.services.callbacks import apply, receive
from perma_payments.views import cybersource, middleware, queries


def test_a_callback_is_answered_before_cybersource_gives_up():
    assert receive.KEEPING + apply.APPLYING + apply.RECORDING_FAILURE < cybersource.LIMIT < 10


def test_an_acknowledgement_is_answered_before_perma_gives_up():
    assert 2 * acknowledgement.ACKNOWLEDGING < queries.ACKNOWLEDGEMENT_LIMIT < 2


def test_a_command_waits_five_seconds_for_a_lock():
    assert base.limits(in_transaction=True) == "SET LOCAL lock_timeout = 5000; "


def test_a_request_waits_for_a_lock_for_less_than_its_limit():
    assert base.LOCK_SECONDS <= middleware.TIME_LIMIT
