"""When a key was last used is recorded after the answer, rarely, and never at the cost of a request."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from django.db import connection

from perma_payments.billing.transactions import Kind
from perma_payments.cybersource.signature import SigningKey, SigningKeys
from perma_payments.models import KeyUse, Ring
from perma_payments.services import key_uses

from .. import cyber_source, records
from ..conftest import FORM, forget_key_uses

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)

# The keys of a message from Perma.cc in development.
PERMAS_MESSAGE = {(Ring.OURS, "development"), (Ring.PERMAS, "development")}


def use(now, key_id="2026-11", ring=Ring.OURS):
    """A request in which a key is used."""
    key_uses.note(ring, key_id, now=now)
    key_uses.write()


def used():
    return set(KeyUse.objects.values_list("ring", "key_id"))


def last_use():
    return KeyUse.objects.get().last_used_at


def test_a_message_from_perma_uses_one_key_of_each_ring(post):
    assert post("subscription").status_code == 200
    assert used() == PERMAS_MESSAGE


def test_a_form_uses_the_key_that_signs_it_and_a_callback_that_of_its_own(post, call_back, settings):
    new = SigningKey("0011", "the new secret")
    settings.CS_KEYS = SigningKeys(new, *settings.CS_KEYS)
    settings.CS_PROFILE = replace(settings.CS_PROFILE, keys=settings.CS_KEYS)
    assert post("purchase").status_code == 200
    assert used() - PERMAS_MESSAGE == {(Ring.CYBERSOURCE, "0011")}
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    assert call_back(form, req_access_key=cyber_source.ACCESS_KEY).status_code == 200
    assert used() - PERMAS_MESSAGE == {(Ring.CYBERSOURCE, "0011"), (Ring.CYBERSOURCE, cyber_source.ACCESS_KEY)}


def test_a_message_that_is_refused_uses_no_key(client, post, call_back):
    assert post("subscription", timestamp=1.0).status_code == 400
    assert client.post("/subscription/", urlencode({"encrypted_data": "x"}), content_type=FORM).status_code == 400
    form = records.form(records.outgoing(Kind.SUBSCRIBE))
    forget_key_uses()  # signing the form
    assert call_back(form, secret="not CyberSource's").status_code == 400
    assert used() == set()


def test_a_use_is_written_after_the_request_and_not_during_it():
    key_uses.note(Ring.OURS, "2026-11", now=NOW)
    assert used() == set()
    key_uses.write()
    assert (used(), last_use()) == ({(Ring.OURS, "2026-11")}, NOW)


def test_a_key_is_written_again_after_an_hour():
    for after in (0 * HOUR, SECOND, HOUR - SECOND):
        use(NOW + after)
        assert last_use() == NOW
    use(NOW + HOUR)
    assert last_use() == NOW + HOUR


def test_each_key_of_each_ring_has_a_use_of_its_own():
    for ring in (Ring.OURS, Ring.PERMAS):
        for key_id in ("2025-11", "2026-11"):
            use(NOW, key_id, ring)
    assert KeyUse.objects.count() == 4


def test_what_another_process_has_written_is_brought_up_to_date():
    KeyUse.objects.create(ring=Ring.OURS, key_id="2026-11", last_used_at=NOW - HOUR)
    use(NOW)
    assert last_use() == NOW


def test_a_read_only_database_answers_as_before_and_is_tried_again_later(post, caplog):
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")

    assert post("subscription").status_code == 200
    assert "the use of keys could not be recorded: it is read-only" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_what_could_not_be_written_is_tried_again_after_a_minute(caplog):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE perma_payments_keyuse RENAME TO keyuse_elsewhere")
    try:
        use(NOW)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE keyuse_elsewhere RENAME TO perma_payments_keyuse")
    assert caplog.text.count("the use of keys could not be recorded") == 1

    use(NOW + MINUTE - SECOND)
    assert used() == set()
    use(NOW + MINUTE)
    assert last_use() == NOW + MINUTE
