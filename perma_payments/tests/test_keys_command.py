"""``manage.py keys`` says which keys are held, which are used, and which step of a change comes next."""

from datetime import UTC, date, datetime, timedelta
from unittest import mock

import pytest
from django.core.management import call_command
from django.db import connection
from nacl.public import PrivateKey

from perma_payments.billing.transactions import Kind
from perma_payments.cybersource.signature import SigningKey, SigningKeys
from perma_payments.management.commands.keys import date_in
from perma_payments.models import KeyUse, Ring
from perma_payments.sealed_archive import SealedArchive
from perma_payments.services.callbacks.receive import receive_callback

from . import cyber_source, records
from .environments import NO_DATABASE, OUR_PAIR, SECRET, base64_of, production, start

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PERMAS_NEXT = "Then tell Perma.cc to use its secret half."
OUR_NEXT = "Then give its public half to Perma.cc."


def keys(capsys):
    """What the command prints, by section: the setting's name and the indented lines below it."""
    with mock.patch("django.utils.timezone.now", return_value=NOW):
        call_command("keys")
    head, *sections = capsys.readouterr().out.rstrip("\n").split("\n\n")
    found = {section.partition(":")[0]: section.splitlines()[1:] for section in sections}
    return {"": head, **{name: [line.strip() for line in lines] for name, lines in found.items()}}


def use(ring, key_id, ago):
    KeyUse.objects.create(ring=ring, key_id=key_id, last_used_at=NOW - ago)


def test_each_key_is_listed_in_order_with_its_age_its_role_and_its_last_use(capsys, settings):
    settings.PERMA_PUBLIC_KEYS = {"2025-11": b"", "2026-11-27": b"", "Perma.cc": b""}
    use(Ring.PERMAS, "2025-11", 49 * HOUR)
    use(Ring.PERMAS, "Perma.cc", timedelta(0))

    assert keys(capsys)[Ring.PERMAS][:-1] == [
        "2025-11  392 days old, accepted, last used 2026-11-26 11:00 UTC, 2 days ago",
        "2026-11-27  1 day old, accepted, no use recorded",
        "Perma.cc  age unknown, accepted, last used 2026-11-28 12:00 UTC, in the last hour",
    ]


@pytest.mark.parametrize(
    "key_id, day",
    [
        ("2026-11-28", date(2026, 11, 28)),
        ("2026-11-28-b", date(2026, 11, 28)),
        ("2026-11", date(2026, 11, 1)),
        ("2026-11.new", date(2026, 11, 1)),
        ("2026-110", None),
        ("2026-11-281", date(2026, 11, 1)),
        ("2026-13", None),
        ("2026-02-30", None),
        ("20261128", None),
        ("a2026-11-28", None),
        ("", None),
    ],
)
def test_the_age_comes_from_an_id_that_begins_with_a_date(key_id, day):
    assert date_in(key_id) == day


# --- The step that comes next: our keys and Perma.cc's ----------------------------------------------


@pytest.fixture(params=[Ring.OURS, Ring.PERMAS])
def ring(request):
    return request.param


@pytest.fixture
def step(ring, capsys, settings):
    """What the command says is next for a ring of these keys."""

    def step(*key_ids):
        setattr(settings, ring, dict.fromkeys(key_ids, b""))
        return keys(capsys)[ring][-1]

    return step


def test_with_one_key_there_is_nothing_to_do(step):
    assert step("2026-11") == "Next: nothing. To change it, add the new one behind it, on every machine."


@pytest.mark.parametrize("order", [("2025-11", "2026-11"), ("2026-11", "2025-11"), ("a", "2026-11")])
def test_a_new_key_is_given_to_perma_when_every_machine_accepts_it(step, ring, order):
    use(ring, order[0] if order[0] == "a" else "2025-11", HOUR)
    then = OUR_NEXT if ring == Ring.OURS else PERMAS_NEXT
    assert step(*order) == f"Next: 2026-11 is accepted on every machine? {then}"


@pytest.mark.parametrize(
    "ago, told",
    [
        (HOUR, "is still used: remove it when it has not been used for a while, not before 2026-11-29 12:00 UTC."),
        (
            25 * HOUR - timedelta(seconds=1),
            "is still used: remove it when it has not been used for a while, not b",
        ),
        (25 * HOUR, "was last used 25 hours ago: remove it."),
        (3 * DAY, "was last used 3 days ago: remove it."),
    ],
)
def test_an_old_key_is_removed_when_its_longest_lived_messages_have_come(step, ring, ago, told):
    use(ring, "2025-11", ago)
    use(ring, "2026-11", timedelta(0))
    assert step("2025-11", "2026-11").startswith(f"Next: the old key 2025-11 {told}")


def test_an_old_key_lasts_as_long_as_messages_may(step, ring, settings):
    settings.PERMA_FRESHNESS = mock.Mock(browser=7 * DAY)
    use(ring, "2025-11", 7 * DAY)
    use(ring, "2026-11", timedelta(0))
    assert "not before 2026-11-28 13:00 UTC" in step("2025-11", "2026-11")


def test_each_old_key_has_a_step_of_its_own(step, ring):
    use(ring, "2025-11", 3 * DAY)
    use(ring, "2026-11", timedelta(0))
    assert step("2024-11", "2025-11", "2026-11") == (
        "Next: no use of the old key 2024-11 was recorded: remove it; "
        "the old key 2025-11 was last used 3 days ago: remove it."
    )


# --- CyberSource's ----------------------------------------------------------------------------------


@pytest.fixture
def cybersource(capsys, settings):
    """What the command says about a ring of these keys: access key and creation date."""

    def cybersource(*of_keys):
        each = [SigningKey(key, SECRET, day and date.fromisoformat(day)) for key, day in of_keys]
        settings.CS_KEYS = SigningKeys(*each)
        return keys(capsys)[Ring.CYBERSOURCE]

    return cybersource


OLD, NEW = ("0011", "2024-12-28"), ("0022", "2026-11-21")


@pytest.mark.parametrize(
    "created_on, told",
    [
        ("2026-11-21", "0011 ends on 2028-11-21. Create the next one in the Business Center from 2028-09-22 on."),
        ("2025-01-28", "0011 ends on 2027-01-28. Create the next one in the Business Center from 2026-11-29 on."),
        ("2025-01-27", "0011 ends on 2027-01-27. Create the next one in the Business Center now."),
        ("2024-11-28", "0011 ended on 2026-11-28. Create the next one in the Business Center now."),
        (None, "unknown, because the day when the key was created is not set."),
    ],
)
def test_what_is_due_is_said_60_days_before_a_key_ends(cybersource, created_on, told):
    assert cybersource(("0011", created_on))[-2:] == [
        f"Due: {told}",
        "Next: nothing. To change it, add the new one behind it, on every machine.",
    ]


def test_a_new_key_of_cybersources_goes_to_the_front_when_every_machine_accepts_it(cybersource):
    assert cybersource(OLD, NEW) == [
        "0011  700 days old, signs, no use recorded",
        "0022  7 days old, accepted, no use recorded",
        "Due: 0011 still signs, and ends on 2026-12-28.",
        "Next: 0022 is accepted on every machine? Then move it to the front.",
    ]


def test_a_new_key_at_the_front_has_to_be_used(cybersource):
    use(Ring.CYBERSOURCE, "0011", 3 * DAY)
    told = cybersource(NEW, OLD)
    assert told[0] == "0022  7 days old, signs, no use recorded"
    assert told[-1] == "Next: put 0022 first on every machine. It has signed nothing yet."


@pytest.mark.parametrize(
    "ago, told",
    [(24 * HOUR, "is still used: remove it when"), (25 * HOUR, "was last used 25 hours ago: remove it.")],
)
def test_an_old_key_of_cybersources_is_removed_a_day_after_its_last_use(cybersource, ago, told):
    use(Ring.CYBERSOURCE, "0011", ago)
    use(Ring.CYBERSOURCE, "0022", timedelta(0))
    *_, due, step = cybersource(NEW, OLD)
    assert due == "Due: 0022 ends on 2028-11-21. Create the next one in the Business Center from 2028-09-22 on."
    assert step.startswith(f"Next: the old key 0011 {told}")


# --- The others -------------------------------------------------------------------------------------


def test_the_archives_keys_are_those_that_something_is_sealed_to(capsys, settings):
    for seconds in (0, 1):
        fields = cyber_source.response(records.form(records.outgoing(Kind.PURCHASE)))
        receive_callback(b"", list(fields.items()), now=NOW - 3 * DAY + timedelta(seconds=seconds))
    settings.SEALED_ARCHIVE = SealedArchive("2026-11-27", bytes(PrivateKey.generate().public_key))

    assert keys(capsys)["ARCHIVE_PUBLIC_KEY"][:-1] == [
        "2026-11-27  1 day old, seals, nothing is sealed to it yet",
        "development  age unknown, no longer set, responses sealed to it: 2, the last one 2 days ago",
    ]


@pytest.mark.parametrize(
    "number, step", [(0, "set the new one as a fallback"), (2, "exchange it with SECRET_KEY")]
)
def test_of_secret_key_only_the_number_of_fallbacks_is_told(capsys, settings, number, step):
    settings.SECRET_KEY_FALLBACKS = ["Zaphod" * 10] * number
    held, told = keys(capsys)["SECRET_KEY"]
    assert held == f"held, age unknown; fallbacks: {number}"
    assert step in told


def test_of_the_logins_elsewhere_it_is_told_whether_they_are_held(capsys, settings):
    told = keys(capsys)
    user = connection.settings_dict["USER"] or "not set"
    password = "held" if connection.settings_dict["PASSWORD"] else "not held"
    assert told["DATABASE_URL"] == [f"user: {user}; password: {password}"]
    assert told["EMAIL_HOST_USER, EMAIL_HOST_PASSWORD"] == ["user and password: not held"]

    settings.EMAIL_HOST_USER = "Zaphod"
    assert keys(capsys)["EMAIL_HOST_USER, EMAIL_HOST_PASSWORD"] == ["user and password: held"]


def test_without_a_database_the_keys_are_listed_and_no_secret_is_shown():
    fallback = "0123456789" * 6
    environment = production(
        DATABASE_URL=NO_DATABASE.replace("password", "Ford"),
        EMAIL_HOST_USER="Zaphod",
        EMAIL_HOST_PASSWORD="Trillian",
        SECRET_KEY_FALLBACKS=fallback,
    )
    ended = start("manage.py", "keys", **environment)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert (
        "When they were used is not known: the database did not answer (the connection was refused" in ended.stdout
    )
    assert "2026-11-21  " in ended.stdout and "user: perma_payments; password: held" in ended.stdout
    assert ended.stdout.count("use unknown") == 4
    assert ended.stdout.count("Next: not known without the uses.") == 3
    secrets = [base64_of(OUR_PAIR), SECRET, fallback, environment["SECRET_KEY"], "Ford", "Zaphod", "Trillian"]
    assert [secret for secret in secrets if secret in ended.stdout] == []
    # Nor anything that was computed from one: ids, dates and words are shorter.
    assert [word for word in ended.stdout.split() if len(word) > 40] == []
