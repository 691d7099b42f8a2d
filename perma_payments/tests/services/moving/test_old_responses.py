"""What the old service has sealed is opened with its key, in every format that PyNaCl's boxes suggest."""

import base64
import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from nacl.public import Box, PrivateKey, SealedBox

from perma_payments.models import Response
from perma_payments.sealed_archive import CannotOpen, open_old_sealed

from ...environments import base64_of, start
from ...test_commands import run
from .test_import import moved

ARCHIVE, KEPT, THROWN_AWAY = (PrivateKey(bytes([number]) * 32) for number in (1, 2, 3))
FIELDS = {"decision": "ACCEPT", "req_bill_to_forename": "Erin & X", "empty": "", "number": 7}
CONTENTS = json.dumps(FIELDS).encode()

BY_KEPT = bytes(Box(KEPT, ARCHIVE.public_key).encrypt(CONTENTS))
BY_THROWN_AWAY = bytes(Box(THROWN_AWAY, ARCHIVE.public_key).encrypt(CONTENTS))
WITHOUT_SENDER = [
    SealedBox(ARCHIVE.public_key).encrypt(CONTENTS),
    bytes(THROWN_AWAY.public_key) + BY_THROWN_AWAY,
    BY_THROWN_AWAY + bytes(THROWN_AWAY.public_key),
]


@pytest.mark.parametrize("sealed", WITHOUT_SENDER, ids=["sealed box", "key first", "key last"])
@pytest.mark.parametrize("encode", [bytes, base64.b64encode], ids=["raw", "base64"])
def test_what_was_sealed_with_a_throw_away_key_is_opened(sealed, encode):
    assert open_old_sealed(encode(sealed), bytes(ARCHIVE)) == CONTENTS


def test_what_was_sealed_with_a_kept_key_is_opened_with_its_public_half():
    assert open_old_sealed(BY_KEPT, bytes(ARCHIVE), bytes(KEPT.public_key)) == CONTENTS
    # A box has two secret halves, and each opens it.
    assert open_old_sealed(BY_KEPT, bytes(KEPT), bytes(ARCHIVE.public_key)) == CONTENTS
    with pytest.raises(CannotOpen):
        open_old_sealed(BY_KEPT, bytes(ARCHIVE))


@pytest.mark.parametrize("sealed", [b"", b"x", b"x" * 200, base64.b64encode(b"x" * 200)])
def test_anything_else_is_not_opened(sealed):
    with pytest.raises(CannotOpen):
        open_old_sealed(sealed, bytes(ARCHIVE), bytes(KEPT.public_key))


@pytest.fixture
def imported(old, settings, tmp_path):
    """A response that the old service sealed with a key that it kept, and the file of the archive's key."""
    old.agreement(response={"full_response": BY_KEPT})
    moved(settings)
    (tmp_path / "key").write_text(base64_of(ARCHIVE))
    return Response.objects.get(), str(tmp_path / "key")


SHOWN = ["decision = ACCEPT", "empty = ", "number = 7", "req_bill_to_forename = Erin & X"]


def test_an_imported_response_is_opened_with_the_old_key(imported):
    response, key_file = imported

    output = run(
        "open_response", str(response.pk), "--key-file", key_file, "--sender-key", base64_of(KEPT.public_key)
    )

    assert output.splitlines()[1:] == SHOWN


def test_an_imported_response_is_opened_offline(imported, tmp_path):
    response, key_file = imported
    file = str(tmp_path / "export.jsonl")
    run("export_sealed", str(response.pk), "--output", file)

    arguments = ("--file", file, "--key-file", key_file, "--sender-key", base64_of(KEPT.public_key))
    process = start("manage.py", "open_response", *arguments, PERMA_PAYMENTS_ENV="production", DATABASE_URL="none")

    assert process.stdout.splitlines()[1:] == SHOWN


def test_a_response_that_was_not_opened_may_need_the_key_of_the_sender(imported):
    response, key_file = imported

    with pytest.raises(CommandError) as problem:
        call_command("open_response", str(response.pk), "--key-file", key_file, stdout=StringIO())
    assert str(problem.value) == (
        f"This key does not open response {response.pk}, which is sealed to key old-3. It was sealed by the old "
        "service: if that kept a key of its own to seal with, name its public half (--sender-key)."
    )
    with pytest.raises(CommandError, match="expected 32 bytes in base64"):
        call_command("open_response", str(response.pk), "--sender-key", "abc")
