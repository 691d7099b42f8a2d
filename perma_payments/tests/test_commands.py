"""What operators run."""

import base64
from datetime import timedelta
from io import StringIO
from unittest import mock

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from nacl.public import PrivateKey

from perma_payments.admin.login import attempts as login_attempts
from perma_payments.billing.transactions import Kind
from perma_payments.models import Response, StaffTask
from perma_payments.services.callbacks.receive import receive_callback

from . import cyber_source, records
from .environments import base64_of, start
from .mail_server import free_port, use

ARCHIVE_SECRET = "txmKQuPWYukMWn/wdZaMah47r4A86ojNThvBSmc2I2Q="


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def response(db: None) -> Response:
    fields = cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE)))
    return receive_callback(
        b"decision=ACCEPT&req_bill_to_forename=Erin+X&empty=", list(fields.items()), now=timezone.now()
    )


def test_generate_keys_prints_a_pair_that_fits_and_never_the_same():
    ours, public, secret_key = run("generate_keys").splitlines()

    today, _, secret = ours.removeprefix("PERMA_PAYMENTS_SECRET_KEYS=").partition(":")
    assert today == f"{timezone.now():%Y-%m-%d}"
    assert (
        public == f"its public half, for Perma.cc:  {base64_of(PrivateKey(base64.b64decode(secret)).public_key)}"
    )
    assert len(secret_key.removeprefix("SECRET_KEY=")) >= 50
    assert run("generate_keys") != run("generate_keys")


def test_generate_keys_labels_both_halves_of_the_archive():
    secret, public = run("generate_keys", "--archive").splitlines()

    pair = PrivateKey(base64.b64decode(secret.partition("archive-secret:")[2]))
    assert public == f"ARCHIVE_PUBLIC_KEY={timezone.now():%Y-%m-%d}:archive-public:{base64_of(pair.public_key)}"


@pytest.fixture
def key_file(tmp_path):
    """Writes a text, usually a key, to a file, and returns its path."""

    def key_file(text: str) -> str:
        (tmp_path / "key").write_text(text, encoding="utf-8")
        return str(tmp_path / "key")

    return key_file


@pytest.mark.parametrize(
    "text",
    [
        f"{ARCHIVE_SECRET}\n",
        ARCHIVE_SECRET,
        f"archive-secret:{ARCHIVE_SECRET}\n",
        f"\ufeff{ARCHIVE_SECRET}\r\n",
        f"secret key, to be kept offline:  archive-secret:{ARCHIVE_SECRET}\nARCHIVE_PUBLIC_KEY=a:archive-public:x",
    ],
)
def test_check_keys_proves_that_a_key_opens_what_is_sealed_today(key_file, text):
    assert run("check_keys", "--key-file", key_file(text)) == (
        "This key opens what is sealed today: it is the secret half of ARCHIVE_PUBLIC_KEY "
        "(not set, so development uses its own).\n"
    )


def test_check_keys_asks_for_the_key_where_no_file_is_named(monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda prompt: ARCHIVE_SECRET)
    assert "opens what is sealed today" in run("check_keys")


def test_check_keys_says_which_key_it_was_given_instead(key_file):
    other = PrivateKey.generate()
    with pytest.raises(CommandError, match="does not open what is sealed today") as told:
        run("check_keys", "--key-file", key_file(base64_of(other)))

    assert base64_of(other.public_key) in str(told.value)
    assert base64_of(other) not in str(told.value)


def test_check_keys_notices_a_secret_half_set_as_the_public_one(key_file, monkeypatch):
    monkeypatch.setenv("ARCHIVE_PUBLIC_KEY", f"2026-11:archive-public:{ARCHIVE_SECRET}")
    with pytest.raises(CommandError, match="the secret half, ARCHIVE_PUBLIC_KEY holds the wrong half") as told:
        run("check_keys", "--key-file", key_file(ARCHIVE_SECRET))
    assert ARCHIVE_SECRET not in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Zaphod",
        ARCHIVE_SECRET[:-4],
        f"{ARCHIVE_SECRET} {ARCHIVE_SECRET}",
        "ключ",
        f"archive-secret:{ARCHIVE_SECRET}\narchive-secret:{ARCHIVE_SECRET}",
        f"archive-public:{ARCHIVE_SECRET}",
    ],
)
def test_check_keys_refuses_what_is_not_a_key(key_file, text):
    with pytest.raises(CommandError, match=r"^That is not a secret key: expected 32 bytes in base64"):
        run("check_keys", "--key-file", key_file(text))


def test_check_keys_says_that_a_file_cannot_be_read():
    with pytest.raises(CommandError, match=r"^/nowhere cannot be read: FileNotFoundError"):
        run("check_keys", "--key-file", "/nowhere")


@pytest.mark.parametrize("environment", ["production", "staging", "development"])
def test_check_keys_needs_nothing_to_be_set_but_the_key(key_file, environment):
    pair = PrivateKey.generate()
    ended = start(
        "manage.py",
        "check_keys",
        "--key-file",
        key_file(base64_of(pair)),
        PERMA_PAYMENTS_ENV=environment,
        DATABASE_URL="nonsense",
        ARCHIVE_PUBLIC_KEY=f"2026-11:archive-public:{base64_of(pair.public_key)}",
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == (
        "This key opens what is sealed today: it is the secret half of ARCHIVE_PUBLIC_KEY (id 2026-11).\n"
    )


@pytest.mark.parametrize(
    "value, reason",
    [
        ("", "is not set"),
        ("2026-11:short", "cannot be read"),
        ("a:archive-secret:x", "contains a secret key"),
        (f"a:{ARCHIVE_SECRET}", "has no label archive-public:"),
    ],
)
def test_check_keys_says_what_is_wrong_with_the_public_half(key_file, value, reason):
    ended = start(
        "manage.py",
        "check_keys",
        "--key-file",
        key_file(ARCHIVE_SECRET),
        PERMA_PAYMENTS_ENV="production",
        ARCHIVE_PUBLIC_KEY=value,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"CommandError: The setting ARCHIVE_PUBLIC_KEY {reason}")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate_keys"],
        ["generate_keys", "--archive"],
        ["generate_keys", "--help"],
        ["check_keys", "--help"],
        ["help"],
        ["help", "migrate"],
        ["migrate", "--help"],
        ["--help"],
        ["--version"],
        ["version"],
        [],
    ],
)
def test_help_and_new_keys_need_no_settings(arguments):
    ended = start("manage.py", *arguments, PERMA_PAYMENTS_ENV="production")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["check"],
        ["migrate"],
        ["createsuperuser"],
        ["run_scheduler"],
        ["shell", "--command", "1"],
        ["migrate", "--", "--help"],
        ["check", "generate_keys"],
    ],
)
def test_nothing_else_runs_without_settings(arguments):
    ended = start("manage.py", *arguments, PERMA_PAYMENTS_ENV="production")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("The setting SECRET_KEY is not set")


@pytest.mark.parametrize("arguments", [["migrate"], ["createsuperuser", "--noinput", "--username", "a"]])
def test_a_command_says_that_no_database_was_named(arguments):
    ended = start("manage.py", *arguments, PGHOST="/nowhere", DJANGO_SUPERUSER_PASSWORD="Zaphod")
    assert ended.returncode == 1
    assert "DATABASE_URL is not set. Set it, as in DATABASE_URL=postgres://" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_open_response_shows_the_whole_post(response, key_file):
    key = key_file(ARCHIVE_SECRET + "\n")

    assert run("open_response", str(response.pk), "--key-file", key).splitlines() == [
        f"Response {response.pk}: ACCEPT, received {response.received_at.isoformat()}, "
        f"transaction {response.transaction_uuid}",
        "decision = ACCEPT",
        "empty = ",
        "req_bill_to_forename = Erin X",
    ]


def test_open_response_asks_for_the_key_where_no_file_is_named(response, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda prompt: ARCHIVE_SECRET)

    assert "Erin X" in run("open_response", str(response.pk))


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (base64.b64encode(b"x" * 32).decode(), "sealed to key development"),
        ("short", "That is not a secret key"),
        ("", "That is not a secret key"),
        ("ключ", "That is not a secret key"),
    ],
)
def test_open_response_says_what_is_wrong_with_a_key(response, key_file, key, sentence):
    with pytest.raises(CommandError, match=sentence):
        run("open_response", str(response.pk), "--key-file", key_file(key))


def test_open_response_says_that_a_file_cannot_be_read(response):
    with pytest.raises(CommandError, match=r"^/nowhere cannot be read"):
        run("open_response", str(response.pk), "--key-file", "/nowhere")


def test_open_response_says_that_there_is_no_such_response(db):
    with pytest.raises(CommandError, match="There is no response 0"):
        run("open_response", "0", "--key-file", "/nowhere")


def test_apply_responses_applies_what_waits_and_says_how_much(response):
    Response.objects.filter(pk=response.pk).update(applied_at=None, outcome="")

    assert run("apply_responses") == "Applied: 1. Not applied: 0.\n"
    assert run("apply_responses") == "Applied: 0. Not applied: 0.\n"


def test_purge_expired_says_how_much_it_has_purged(db):
    login_attempts.begin(account="someone", address=None, now=timezone.now() - timedelta(hours=1))

    said = "Purged: previews of status reports 0, lines of status reports 0, login attempts {}, sessions 0.\n"
    assert run("purge_expired") == said.format(1)
    assert run("purge_expired") == said.format(0)


def test_apply_responses_fails_loudly(response, monkeypatch):
    Response.objects.filter(pk=response.pk).update(applied_at=None, outcome="")
    monkeypatch.setattr("perma_payments.services.callbacks.apply.apply_response", lambda *a, **k: 1 / 0)

    with pytest.raises(CommandError, match="each has a staff task"):
        run("apply_responses")


@pytest.mark.parametrize(
    ("command", "subject"), [("send_daily_report", "Nothing pending"), ("remind_of_overdue", "Overdue: 1")]
)
def test_a_daily_job_is_done_once_a_day_however_often_cron_calls(db, mailbox, command, subject):
    now = timezone.now()
    if command == "remind_of_overdue":
        StaffTask.objects.create(
            kind="duplicate charge", agreement=records.agreement(), opened_at=now - timedelta(days=9)
        )

    with mock.patch("django.utils.timezone.now", return_value=now):
        assert run(command).endswith("is done.\n")
        assert run(command).endswith("was already done today.\n")
    assert mailbox.subjects == [subject]


def test_a_daily_job_that_cannot_be_mailed_fails_in_a_sentence(db, settings):
    use(settings, free_port())

    with pytest.raises(CommandError, match="The daily report could not be mailed: ConnectionRefusedError"):
        run("send_daily_report")


def test_send_task_mails_says_how_many_it_sent(db, mailbox, settings):
    StaffTask.objects.create(kind="cancellation", agreement=records.standing_agreement())
    port = settings.EMAIL_PORT
    use(settings, free_port())
    with pytest.raises(CommandError, match="did not accept some mail"):
        run("send_task_mails")

    use(settings, port)
    assert run("send_task_mails") == "Sent: 1. Not sent: 0.\n"


def test_a_daily_job_that_has_failed_says_when_it_is_due_again(db, mailbox):
    mailbox.refuses = True
    with pytest.raises(CommandError, match="could not be mailed: SMTPDataError 451"):
        run("send_daily_report")
    with pytest.raises(CommandError, match=r"is due again at \d\d:\d\d:\d\d UTC"):
        run("send_daily_report")
