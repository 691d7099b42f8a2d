"""Sealed responses go to the offline machine and back in files, and only there are they opened."""

import base64
import hashlib
import json
import os
import stat
import subprocess
import sys
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from nacl.public import PrivateKey

from perma_payments.billing.transactions import Kind
from perma_payments.management.commands import export_sealed
from perma_payments.models import Response
from perma_payments.sealed_archive import SealedArchive, open_sealed
from perma_payments.services.callbacks.receive import receive_callback

from . import cyber_source, records
from .environments import ROOT, base64_of, start
from .test_commands import ARCHIVE_SECRET, run
from .test_sealed_archive import ARCHIVE as NEW, SECRET as NEW_PAIR

OLD_PAIR = PrivateKey(base64.b64decode(ARCHIVE_SECRET))
NOW = timezone.now()


def receive(body: bytes = b"decision=ACCEPT&req_bill_to_forename=Erin", now: datetime = NOW) -> Response:
    """A response to a checkout of its own, with this body sealed to development's key."""
    fields = cyber_source.response(records.form(records.outgoing(Kind.SUBSCRIBE)))
    return receive_callback(body, list(fields.items()), now=now)


@pytest.fixture
def old_key(tmp_path):
    """The name of a file with the secret half of development's key."""
    return written(tmp_path / "old-key", f"archive-secret:{ARCHIVE_SECRET}\n")


@pytest.fixture
def new_key(tmp_path):
    """The name of a file with the secret half of NEW."""
    return written(tmp_path / "new-key", base64_of(NEW_PAIR))


@pytest.fixture
def export(tmp_path):
    """Exports responses and returns the name of the file. Keyword arguments change the last line."""

    def export(*responses: Response, **changes) -> str:
        file = tmp_path / f"export-{len(list(tmp_path.iterdir()))}.jsonl"
        run("export_sealed", *(str(response.pk) for response in responses), "--output", str(file))
        return with_last_line(file, **changes)

    return export


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def with_last_line(path, **changes):
    *others, last = lines_of(path)
    lines = [*others, {name: value for name, value in {**last, **changes}.items() if value is not ...}]
    return written(path, "".join(f"{json.dumps(line)}\n" for line in lines))


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def attempt(*arguments):
    """What a command prints, and the sentences that it fails with."""
    out = StringIO()
    try:
        call_command(*arguments, stdout=out)
    except CommandError as error:
        return out.getvalue(), str(error).splitlines()
    return out.getvalue(), []


def told(*arguments):
    """The sentences that a command fails with."""
    return attempt(*arguments)[1]


def offline(tmp_path, *arguments, **variables):
    """Run a command where production has no settings and no database, from an empty directory."""
    (tmp_path / "empty").mkdir()
    variables = {"PERMA_PAYMENTS_ENV": "production", "DATABASE_URL": "nonsense", **variables}
    return start(str(ROOT / "manage.py"), *arguments, cwd=tmp_path / "empty", **variables)


# --- export_sealed ----------------------------------------------------------------------------------


def test_an_export_holds_ids_and_what_is_sealed(db, tmp_path):
    response = receive()
    run("export_sealed", str(response.pk), "--output", str(tmp_path / "export.jsonl"))

    (line,) = lines_of(tmp_path / "export.jsonl")
    assert open_sealed(base64.b64decode(line.pop("sealed")), bytes(OLD_PAIR)).endswith(b"=Erin")
    assert line == {
        "version": 1,
        "response": response.pk,
        "archive_key_id": "development",
        "received_at": NOW.isoformat(),
        "decision": "ACCEPT",
        "transaction_uuid": str(response.transaction_uuid),
        "archive_public_key": "",
        "old_key_id": "",
        "old_digest": "",
    }
    assert stat.S_IMODE((tmp_path / "export.jsonl").stat().st_mode) == 0o600


def test_an_export_goes_to_standard_output_where_no_file_is_named(db):
    response = receive()
    assert json.loads(run("export_sealed", str(response.pk)))["response"] == response.pk


@pytest.mark.parametrize(
    "arguments, exported",
    [
        (["{0.pk}"], [0]),
        (["{2.pk}", "{0.pk}"], [0, 2]),
        (["{0.pk}-{1.pk}", "{2.pk}"], [0, 1, 2]),
        (["--since", f"{NOW - timedelta(hours=5):%Y-%m-%dT%H:%M:%S}"], [1, 2]),
        (["--since", f"{NOW - timedelta(days=9):%Y-%m-%d}"], [0, 1, 2]),
        (["--transaction-uuid", "{1.transaction_uuid}"], [1]),
        (["--reference-number", "{1.reference_number}"], [1]),
        (["--key-id", "development"], [0, 1, 2]),
        (["--newest"], [1]),
        (["--newest", "{0.pk}", "{2.pk}"], [2]),
        (["{0.pk}-{2.pk}", "--reference-number", "{2.reference_number}"], [2]),
    ],
)
def test_what_is_selected_is_exported_by_id(db, monkeypatch, arguments, exported):
    monkeypatch.setattr(export_sealed, "PAGE", 2)
    responses = [receive(now=NOW - timedelta(hours=hours)) for hours in (7, 1, 3)]
    staffs = records.outgoing(Kind.SUBSCRIBE)
    Response.objects.create(
        fingerprint=b"x",
        transaction_uuid=str(staffs.transaction_uuid),
        recorded_by=User.objects.create(username="staff"),
    )
    lines = run("export_sealed", *(each.format(*responses) for each in arguments)).splitlines()

    assert [json.loads(line)["response"] for line in lines] == [responses[each].pk for each in exported]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ([], "Say which responses: by their ids, with --newest, or with another option (--help)."),
        (["1-20000"], "No sealed response matches."),
        (["0"], "There is no sealed response 0 to export."),
        (["--newest"], "No sealed response matches."),
        (["--key-id", "2026-11"], "No sealed response matches."),
        (["7a"], "Error: argument ids: '7a' is not an id, as in 7, nor a range of ids, as in 12-20"),
        (["--since", "x"], "Error: argument --since: 'x' is not a day or time, as in 2026-11-25T14:00"),
        (["--transaction-uuid", "x"], "Error: argument --transaction-uuid: invalid UUID value: 'x'"),
    ],
)
def test_an_export_of_nothing_says_so_and_leaves_no_file(db, tmp_path, arguments, sentence):
    assert told("export_sealed", *arguments, "--output", str(tmp_path / "export.jsonl")) == [sentence]
    assert not (tmp_path / "export.jsonl").exists()


def test_the_others_are_exported_if_one_does_not_exist(db, tmp_path):
    response, file = receive(), tmp_path / "export.jsonl"
    sentence = "There is no sealed response 0 to export."

    assert told("export_sealed", "0", str(response.pk), "--output", str(file)) == [sentence]
    assert [line["response"] for line in lines_of(file)] == [response.pk]


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("there", "exists, and is not overwritten. Name another file."),
        ("no/where", "cannot be written: FileNotFoundError."),
    ],
)
def test_a_file_is_never_overwritten_and_must_be_writable(db, tmp_path, name, sentence):
    written(tmp_path / "there", "mine")

    assert told("export_sealed", str(receive().pk), "--output", str(tmp_path / name)) == [
        f"{tmp_path / name} {sentence}"
    ]
    assert (tmp_path / "there").read_text() == "mine"


# --- open_response ----------------------------------------------------------------------------------


def test_a_file_is_opened_without_settings_or_a_database(db, tmp_path, export, old_key):
    first, second = receive(), receive(b"decision=DECLINE&req_bill_to_forename=Zo%C3%AB")
    ended = offline(tmp_path, "open_response", "--file", export(first, second), "--key-file", old_key)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        f"Response {first.pk}: ACCEPT, received {NOW.isoformat()}, transaction {first.transaction_uuid}",
        "decision = ACCEPT",
        "req_bill_to_forename = Erin",
        f"Response {second.pk}: ACCEPT, received {NOW.isoformat()}, transaction {second.transaction_uuid}",
        "decision = DECLINE",
        "req_bill_to_forename = Zoë",
    ]


def test_without_a_file_opening_needs_the_settings(tmp_path):
    ended = offline(tmp_path, "open_response", "1", "--key-file=x")
    assert ended.returncode == 1
    assert ended.stderr.startswith("The setting SECRET_KEY is not set")


def test_only_the_responses_that_are_named_are_shown(db, export, old_key):
    first, second = receive(b"a=1"), receive(b"a=2")
    shown = run("open_response", "--file", export(first, second), str(second.pk), "--key-file", old_key)

    assert "a = 2" in shown and "a = 1" not in shown


def test_a_response_that_is_not_in_the_file_is_named(db, export, old_key):
    file = export(receive())
    assert told("open_response", "0", "--file", file, "--key-file", old_key) == [f"Response 0 is not in {file}."]


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": ...},
        {"sealed": "x"},
        {"sealed": "eA=*="},
        {"sealed": 7},
        {"sealed": ...},
        {"response": "7"},
        {"response": True},
        {"decision": ["ACCEPT"]},
        {"decision": "\x1b[2J"},
        {"archive_key_id": "\u202e"},
        {"received_at": None},
        {"transaction_uuid": ...},
        {"more": "x"},
    ],
)
def test_a_damaged_line_is_named_and_the_others_are_opened(db, export, old_key, changes):
    file = export(receive(), receive(), **changes)
    shown, sentences = attempt("open_response", "--file", file, "--key-file", old_key)

    assert shown.count("= Erin") == 1
    assert sentences == [f"Line 2 of {file} is damaged, or not from export_sealed."]


@pytest.mark.parametrize(
    "damage",
    ["", "{", "7", '"x"', "[1]", "null", "[" * 100_000, "\xff", '{"version": 1}', "x" * 400_000, "9" * 5_000],
)
def test_what_is_no_line_is_named_and_the_others_are_opened(db, tmp_path, export, old_key, damage):
    good, file = Path(export(receive())).read_bytes(), tmp_path / "damaged"
    file.write_bytes(damage.encode("latin-1") + b"\n" + good + good[:-9])
    shown, sentences = attempt("open_response", "--file", str(file), "--key-file", old_key)

    assert shown.count("= Erin") == 1
    assert sentences == [f"Line {number} of {file} is damaged, or not from export_sealed." for number in (1, 3)]


def test_of_many_damaged_lines_the_first_are_named(tmp_path, old_key):
    file = written(tmp_path / "foreign", "x\n" * 1_021)
    sentences = told("open_response", "--file", file, "--key-file", old_key)

    assert (len(sentences), sentences[-1]) == (21, "And 1,001 more.")


@pytest.mark.parametrize(
    "name, sentence", [("empty", "is empty."), ("nowhere", "cannot be read: FileNotFoundError.")]
)
@pytest.mark.parametrize("command", ["open_response", "check_keys", "reseal"])
def test_an_empty_file_or_none_is_named(tmp_path, old_key, new_key, command, name, sentence):
    written(tmp_path / "empty", "")
    more = ["--new-key-file", new_key, "--to", str(NEW), "--output", str(tmp_path / "out")]
    arguments = ["--file", str(tmp_path / name), "--key-file", old_key, *(more if command == "reseal" else [])]

    assert told(command, *arguments) == [f"{tmp_path / name} {sentence}"]


def test_what_another_key_opens_is_named_and_the_others_are_opened(db, export, old_key, settings):
    first = receive()
    settings.SEALED_ARCHIVE = NEW
    second = receive()
    shown, sentences = attempt("open_response", "--file", export(first, second), "--key-file", old_key)

    assert shown.count("= Erin") == 1
    assert sentences == [f"This key does not open response {second.pk}, which is sealed to key 2026-11."]


def test_without_a_file_each_key_is_asked_for_once(db, export, settings, monkeypatch):
    first, second = receive(), receive()
    settings.SEALED_ARCHIVE = NEW
    third, asked = receive(), []
    answers = {"development": ARCHIVE_SECRET, "2026-11": base64_of(NEW_PAIR)}

    def answer(prompt):
        asked.append(prompt)
        return answers[prompt.partition("(")[2].partition(")")[0]]

    monkeypatch.setattr("getpass.getpass", answer)
    assert run("open_response", "--file", export(first, second, third)).count("= Erin") == 3
    assert asked == ["Secret key of the archive (development): ", "Secret key of the archive (2026-11): "]


def test_where_nobody_can_be_asked_for_the_key_it_says_so(db, export, monkeypatch):
    def nobody(prompt):
        raise EOFError

    monkeypatch.setattr("getpass.getpass", nobody)
    assert told("open_response", "--file", export(receive())) == [
        "There is nobody to ask for the secret key. Name a file that holds it."
    ]


@pytest.mark.parametrize(
    "body, shown",
    [
        (b"a=%1B%5B2J%07", r"a = \x1b[2J\x07"),
        (b"a=1%0Adecision+%3D+ACCEPT%0D", r"a = 1\ndecision = ACCEPT\r"),
        (b"a%08=%9B1A", r"a\x08 = \ufffd1A".replace(r"\ufffd", "\ufffd")),
        (b"a=%C2%9B1A%E2%80%AE%F3%A0%80%81", r"a = \x9b1A\u202e\U000e0001"),
        (b"a=%5Cx1b+Zo%C3%AB", r"a = \\x1b Zoë"),
        (b"a=\x1b[2J\n", r"a = \x1b[2J\n"),
    ],
)
def test_what_customers_typed_cannot_control_the_terminal(db, export, old_key, body, shown):
    assert run("open_response", "--file", export(receive(body)), "--key-file", old_key).splitlines()[1:] == [shown]


def test_what_a_terminal_has_no_characters_for_is_escaped(db, tmp_path, export, old_key):
    file = export(receive(b"a=Zo%C3%AB"))
    ended = offline(tmp_path, "open_response", f"--file={file}", "--key-file", old_key, PYTHONIOENCODING="ascii")

    assert ended.stdout.splitlines()[1:] == [r"a = Zo\xeb"]


def test_a_reader_that_has_seen_enough_ends_it_quietly(db, tmp_path, export, old_key):
    file = tmp_path / "long"
    file.write_bytes(Path(export(receive(b"a=" + b"x" * 50_000))).read_bytes() * 20)
    command = [sys.executable, str(ROOT / "manage.py"), "open_response", "--file", file, "--key-file", old_key]
    environment = {"PATH": os.environ["PATH"], "PYTHON_DOTENV_DISABLED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_what_staff_recorded_cannot_be_opened(db, old_key):
    recorded = Response.objects.create(fingerprint=b"x", recorded_by=User.objects.create(username="staff"))
    assert told("open_response", str(recorded.pk), "--key-file", old_key) == [
        f"Response {recorded.pk} was recorded by staff, so there is nothing to open."
    ]


def test_opening_nothing_asks_for_a_response_or_a_file():
    assert told("open_response") == ["Say which response, by its id, or name a file from export_sealed (--file)."]


# --- check_keys -------------------------------------------------------------------------------------


def test_a_key_is_proved_to_open_the_newest_and_what_is_sealed_today(db, tmp_path, export, old_key):
    newest, older = receive(), receive(now=NOW - timedelta(days=9))
    ended = offline(
        tmp_path,
        "check_keys",
        *("--file", file := export(newest, older), "--key-file", old_key),
        ARCHIVE_PUBLIC_KEY=f"today:archive-public:{base64_of(OLD_PAIR.public_key)}",
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        f"This key opens every response in {file} (2). The newest is response {newest.pk}, received "
        f"{NOW.isoformat()}, sealed to key development.",
        "This key opens what is sealed today: it is the secret half of ARCHIVE_PUBLIC_KEY (id today).",
    ]


def test_without_the_public_half_it_says_what_was_not_checked(db, tmp_path, export, old_key):
    ended = offline(tmp_path, "check_keys", "--file", export(receive()), "--key-file", old_key)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[1:] == [
        "Not checked: whether it opens what is sealed today. To check that, too, set ARCHIVE_PUBLIC_KEY."
    ]


def test_a_key_that_opens_all_responses_but_one_is_not_proved(db, export, old_key, settings):
    first = receive()
    settings.SEALED_ARCHIVE = NEW
    second = receive()

    assert attempt("check_keys", "--file", export(first, second), "--key-file", old_key) == (
        "",
        [f"This key does not open response {second.pk}, which is sealed to key 2026-11."],
    )


def test_a_key_that_opens_the_newest_but_not_what_is_sealed_today_fails(db, export, old_key, monkeypatch):
    monkeypatch.setenv("ARCHIVE_PUBLIC_KEY", str(NEW))
    shown, sentences = attempt("check_keys", "--file", export(receive()), "--key-file", old_key)

    assert shown.startswith("This key opens every response")
    assert "does not open what is sealed today" in sentences[0]


# --- reseal and import_resealed ---------------------------------------------------------------------


@pytest.fixture
def reseal(tmp_path, old_key, new_key):
    """Reseals an export to NEW and returns the name of the file. Keyword arguments change its last line."""

    def reseal(export: str, **changes) -> str:
        file = tmp_path / f"resealed-{len(list(tmp_path.iterdir()))}.jsonl"
        keys = ["--key-file", old_key, "--new-key-file", new_key]
        run("reseal", "--file", export, "--to", str(NEW), "--output", str(file), *keys)
        return with_last_line(file, **changes)

    return reseal


@pytest.fixture
def configured(settings):
    """Makes NEW the key of the service."""

    def configured() -> None:
        settings.SEALED_ARCHIVE = NEW

    return configured


def opened(response, pair):
    response.refresh_from_db()
    return open_sealed(bytes(response.sealed), bytes(pair))


def test_responses_move_to_a_new_key_and_the_history_says_so(db, tmp_path, export, reseal, configured, old_key):
    responses = [receive(b"first=1"), receive(b"second=2")]
    resealed = reseal(export(*responses))
    configured()
    printed = run("import_resealed", "--file", resealed, "--keep", str(tmp_path / "old.jsonl"))

    assert printed == "Moved to key 2026-11: 2. Already sealed to it: 0.\n"
    assert [opened(response, NEW_PAIR) for response in responses] == [b"first=1", b"second=2"]
    assert {response.archive_key_id for response in responses} == {"2026-11"}
    for event in (response.events.get() for response in responses):
        assert (event.archive_key_id, event.pgh_context) == (
            "development",
            {"source": "resealing", "key": "2026-11"},
        )
    kept = run("open_response", "--file", str(tmp_path / "old.jsonl"), "--key-file", old_key)
    assert "first = 1" in kept and "second = 2" in kept


def test_importing_again_changes_nothing(db, tmp_path, export, reseal, configured):
    response = receive()
    file = export(response)
    resealed, again = reseal(file), reseal(file)
    configured()
    run("import_resealed", "--file", resealed, "--keep", str(tmp_path / "old.jsonl"))
    before = Response.objects.values().get()
    printed = run("import_resealed", "--file", again, "--keep", str(tmp_path / "again.jsonl"))

    assert printed == "Moved to key 2026-11: 0. Already sealed to it: 1.\n"
    assert Response.objects.values().get() == before
    assert response.events.count() == 1
    assert not (tmp_path / "again.jsonl").exists()


def test_what_is_sealed_to_the_new_key_already_is_not_resealed(db, tmp_path, export, reseal, configured, old_key):
    first = receive()
    configured()
    second = receive()
    resealed = reseal(export(first, second))

    assert [line["response"] for line in lines_of(Path(resealed))] == [first.pk]


def test_resealing_needs_no_settings_and_no_database(db, tmp_path, export, old_key, new_key):
    keys, out = ["--key-file", old_key, "--new-key-file", new_key], tmp_path / "resealed.jsonl"
    ended = offline(tmp_path, "reseal", "--file", export(receive()), "--to", str(NEW), "--output", str(out), *keys)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "Resealed to key 2026-11: 1. Already sealed to it: 0.\n"
    assert "every response" in run("check_keys", "--file", str(out), "--key-file", new_key)


def test_nothing_is_resealed_that_the_new_key_does_not_open(db, tmp_path, export, old_key):
    out, keys = tmp_path / "resealed.jsonl", ["--key-file", old_key, "--new-key-file", old_key]

    (sentence,) = told("reseal", "--file", export(receive()), "--to", str(NEW), "--output", str(out), *keys)
    assert sentence.startswith(f"The new secret key does not open what is sealed to {NEW}")
    assert not out.exists()


def test_what_the_old_key_does_not_open_is_named_and_the_others_are_resealed(
    db, tmp_path, export, old_key, new_key
):
    first, second = receive(), receive()
    file, out = export(first, second, sealed=base64.b64encode(b"x" * 80).decode()), tmp_path / "resealed.jsonl"
    keys = ["--key-file", old_key, "--new-key-file", new_key]

    assert attempt("reseal", "--file", file, "--to", str(NEW), "--output", str(out), *keys) == (
        "Resealed to key 2026-11: 1. Already sealed to it: 0.\n",
        [f"This key does not open response {second.pk}, which is sealed to key development."],
    )
    assert [line["response"] for line in lines_of(out)] == [first.pk]


@pytest.mark.parametrize("to", [f"a:{ARCHIVE_SECRET}", f"a:archive-secret:{ARCHIVE_SECRET}", "Zaphod"])
def test_only_a_labeled_public_half_is_resealed_to(to):
    assert told("reseal", "--file", "x", "--output", "x", "--to", to) == [
        "Error: argument --to: expected id:archive-public:key, as in the line that manage.py generate_keys "
        "--archive printed"
    ]


OTHER_PAIR_OF_THAT_ID = SealedArchive(key_id="2026-11", public_key=bytes(OLD_PAIR.public_key))


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"response": 0}, "Response 0 does not exist."),
        ({"response": 10**30}, f"Response {10**30} does not exist."),
        ({"old_digest": "0" * 64}, "Response {} does not hold what was resealed. Export it again."),
        ({"old_key_id": "2025-11"}, "Response {} does not hold what was resealed. Export it again."),
        (
            {"sealed": base64.b64encode(b"x" * 80).decode()},
            "Response {} was resealed with another length, so that cannot be the same. Reseal it again.",
        ),
        *[
            (
                {"archive_public_key": public_key},
                "Response {} was not resealed to the key that ARCHIVE_PUBLIC_KEY holds (id 2026-11).",
            )
            for public_key in ("", str(OTHER_PAIR_OF_THAT_ID), "2027-11:archive-public:x")
        ],
    ],
)
def test_what_does_not_fit_is_named_and_stays_and_the_others_move(
    db, tmp_path, export, reseal, configured, changes, sentence
):
    first, second = receive(), receive()
    resealed = reseal(export(first, second), **changes)
    configured()

    assert attempt("import_resealed", "--file", resealed, "--keep", str(tmp_path / "old.jsonl")) == (
        "Moved to key 2026-11: 1. Already sealed to it: 0.\n",
        [sentence.format(second.pk)],
    )
    assert opened(first, NEW_PAIR) == opened(second, OLD_PAIR)
    assert (first.events.count(), second.events.count()) == (1, 0)
    assert [line["response"] for line in lines_of(tmp_path / "old.jsonl")] == [first.pk]


def test_an_export_that_was_not_resealed_is_not_imported(db, tmp_path, export, configured):
    response = receive()
    file = export(response)
    configured()

    assert told("import_resealed", "--file", file, "--keep", str(tmp_path / "old.jsonl")) == [
        f"Response {response.pk} was not resealed to the key that ARCHIVE_PUBLIC_KEY holds (id 2026-11)."
    ]


def test_nothing_moves_if_the_old_cannot_be_kept(db, tmp_path, export, reseal, configured):
    response = receive()
    resealed = reseal(export(response))
    configured()
    there = written(tmp_path / "there", "mine")

    assert told("import_resealed", "--file", resealed, "--keep", there) == [
        f"{there} exists, and is not overwritten. Name another file."
    ]
    assert opened(response, OLD_PAIR)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_nothing_moves_if_the_disk_is_full(db, tmp_path, export, reseal, configured, monkeypatch):
    """A disk that is full: it takes the file, and nothing that is written to it."""
    response = receive()
    resealed = reseal(export(response))
    configured()
    opening = os.open

    def on_a_full_disk(path, flags, mode=0o777):
        os.close(opening(path, flags, mode))
        return opening("/dev/full", os.O_WRONLY)

    monkeypatch.setattr("os.open", on_a_full_disk)
    kept = tmp_path / "old.jsonl"
    assert told("import_resealed", "--file", resealed, "--keep", str(kept)) == [
        f"{kept} cannot be written: OSError."
    ]
    assert not kept.exists()
    assert opened(response, OLD_PAIR)


def test_a_failure_half_way_leaves_everything_as_it_was(db, tmp_path, export, reseal, configured, monkeypatch):
    responses = [receive(), receive()]
    resealed = reseal(export(*responses))
    configured()
    monkeypatch.setattr("perma_payments.services.resealing.hashlib.sha256", fails_after(hashlib.sha256, 1))

    with pytest.raises(ZeroDivisionError):
        run("import_resealed", "--file", resealed, "--keep", str(tmp_path / "old.jsonl"))
    assert [opened(response, OLD_PAIR) is not None for response in responses] == [True, True]
    assert not (tmp_path / "old.jsonl").exists()


def fails_after(function, times):
    calls = iter([function] * times)
    return lambda *arguments: next(calls, lambda *_: 1 / 0)(*arguments)


def test_only_the_one_statement_can_change_what_is_sealed(db, tmp_path, export, reseal, configured):
    response = receive()
    resealed = reseal(export(response))
    configured()
    run("import_resealed", "--file", resealed, "--keep", str(tmp_path / "old.jsonl"))

    # On the same connection, and in a test also in the same transaction.
    with pytest.raises(DatabaseError, match="Cannot update"), transaction.atomic():
        Response.objects.update(sealed=b"x")


def test_only_the_owner_of_the_tables_can_move_them(db, tmp_path, export, reseal, configured):
    response = receive()
    resealed = reseal(export(response))
    configured()
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE the_service")
        run("grant_access", "the_service")
        cursor.execute("SET LOCAL ROLE the_service")

    assert attempt("import_resealed", "--file", resealed, "--keep", str(tmp_path / "old.jsonl")) == (
        "",
        [
            "The role in DATABASE_URL may not change what is sealed. Use the role that owns the tables: the "
            "one that runs migrate."
        ],
    )
    assert opened(response, OLD_PAIR)
