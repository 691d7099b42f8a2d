"""What operators run."""
import base64
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from nacl.public import PrivateKey

from perma_payments.billing.transactions import Kind
from perma_payments.models import Response, StaffTask
from perma_payments.services import login_tries
from perma_payments.services.receive_callback import receive_callback

from . import cyber_source, ledger
from .mail_server import free_port, use

VAULT_SECRET = "txmKQuPWYukMWn/wdZaMah47r4A86ojNThvBSmc2I2Q="


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def response(db: None) -> Response:
    fields = cyber_source.response(ledger.form(ledger.outgoing(Kind.SUBSCRIBE)))
    return receive_callback(
        b"decision=ACCEPT&req_bill_to_forename=Erin+X&empty=", list(fields.items()), now=timezone.now()
    )


def test_generate_keys_prints_a_pair_that_fits_and_never_the_same():
    lines = dict(line.split(":  ") for line in run("generate_keys").splitlines())

    pair = PrivateKey(base64.b64decode(lines["secret key"]))
    assert base64.b64decode(lines["public key"]) == bytes(pair.public_key)
    assert len(lines["SECRET_KEY"]) >= 50
    assert run("generate_keys") != run("generate_keys")


def test_open_response_shows_the_whole_post_to_whoever_has_the_key(response, tmp_path):
    key = tmp_path / "key"
    key.write_text(VAULT_SECRET + "\n")

    assert run("open_response", str(response.pk), "--key-file", str(key)).splitlines() == [
        "decision = ACCEPT", "empty = ", "req_bill_to_forename = Erin X",
    ]


def test_open_response_asks_for_the_key_where_no_file_is_named(response, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda prompt: VAULT_SECRET)

    assert "Erin X" in run("open_response", str(response.pk))


@pytest.mark.parametrize(("key", "sentence"), [
    (base64.b64encode(b"x" * 32).decode(), "sealed to the key development"),
    ("short", "That is not a secret key"),
    ("", "That is not a secret key"),
    ("ключ", "That is not a secret key"),
])
def test_open_response_says_what_is_wrong_with_a_key(response, tmp_path, key, sentence):
    file = tmp_path / "key"
    file.write_text(key)

    with pytest.raises(CommandError, match=sentence):
        run("open_response", str(response.pk), "--key-file", str(file))


def test_open_response_says_what_is_missing(response):
    with pytest.raises(CommandError, match="cannot be read"):
        run("open_response", str(response.pk), "--key-file", str(Path("/nowhere")))
    with pytest.raises(CommandError, match="There is no response 0"):
        run("open_response", "0", "--key-file", "/nowhere")


def test_apply_responses_applies_what_waits_and_says_how_much(response):
    Response.objects.filter(pk=response.pk).update(applied_at=None, outcome="")

    assert run("apply_responses") == "Applied: 1. Not applied: 0.\n"
    assert run("apply_responses") == "Applied: 0. Not applied: 0.\n"


def test_purge_expired_says_how_much_it_has_purged(db):
    login_tries.begin(account="someone", address=None, now=timezone.now() - timedelta(hours=1))

    assert run("purge_expired") == "Purged: subscription ids 0, tries to log in 1.\n"
    assert run("purge_expired") == "Purged: subscription ids 0, tries to log in 0.\n"


def test_apply_responses_fails_loudly(response, monkeypatch):
    Response.objects.filter(pk=response.pk).update(applied_at=None, outcome="")
    monkeypatch.setattr("perma_payments.services.receive_callback.apply_response", lambda *a, **k: 1 / 0)

    with pytest.raises(CommandError, match="each has a staff task"):
        run("apply_responses")


@pytest.mark.parametrize(("command", "subject"), [
    ("send_daily_report", "Nothing pending"), ("remind_of_overdue", "Overdue: 1"),
])
def test_a_daily_job_is_done_once_a_day_however_often_cron_calls(db, mailbox, command, subject):
    ledger.paid_purchase(paid_at=timezone.now() - timedelta(days=2))

    assert run(command).endswith("is done.\n")
    assert run(command).endswith("was done today.\n")
    assert mailbox.subjects == [subject]


def test_a_daily_job_that_cannot_be_mailed_fails_in_a_sentence(db, settings):
    use(settings, free_port())

    with pytest.raises(CommandError, match="The daily report could not be mailed: ConnectionRefusedError"):
        run("send_daily_report")


def test_send_task_mails_says_how_many_it_sent(db, mailbox, settings):
    StaffTask.objects.create(kind="cancellation", agreement=ledger.standing_agreement())
    port = settings.EMAIL_PORT
    use(settings, free_port())
    with pytest.raises(CommandError, match="The mail server did not take them"):
        run("send_task_mails")

    use(settings, port)
    assert run("send_task_mails") == "Sent: 1. Not sent: 0.\n"


def test_a_daily_job_that_has_failed_says_when_it_is_due_again(db, mailbox):
    mailbox.refuses = True
    with pytest.raises(CommandError, match="could not be mailed: SMTPDataError 451"):
        run("send_daily_report")
    with pytest.raises(CommandError, match=r"has failed; it is due again at \d\d:\d\d:\d\d UTC"):
        run("send_daily_report")
