"""Only the offline key opens sealed responses, and it loses nothing."""

import pytest
from hypothesis import example, given, settings, strategies as st
from nacl.public import PrivateKey, SealedBox

from perma_payments.sealed_archive import CannotOpen, SealedArchive, open_sealed

SECRET = PrivateKey(bytes(range(32)))
ARCHIVE = SealedArchive(key_id="2026-11", public_key=bytes(SECRET.public_key))
SEALED = ARCHIVE.seal(b"contents")


@settings(deadline=None)
@given(st.binary(max_size=10_000))
def test_what_is_sealed_is_opened_unchanged_with_the_secret_key(contents):
    assert open_sealed(ARCHIVE.seal(contents), bytes(SECRET)) == contents


@settings(deadline=None)
@given(st.binary())
def test_the_wire_is_that_of_a_sealed_box(contents):
    assert SealedBox(SECRET).decrypt(ARCHIVE.seal(contents)) == contents
    assert open_sealed(SealedBox(SECRET.public_key).encrypt(contents), bytes(SECRET)) == contents


def test_the_same_contents_are_never_sealed_the_same():
    assert ARCHIVE.seal(b"contents") != ARCHIVE.seal(b"contents")


def test_what_is_sealed_does_not_show_what_it_holds():
    assert b"contents" not in SEALED


@pytest.mark.parametrize(
    "secret_key",
    [
        bytes(PrivateKey.generate()),
        bytes(SECRET.public_key),
        bytes(32),
        b"",
        bytes(SECRET)[:-1],
        bytes(SECRET) + b"\x00",
        "x" * 32,
        None,
    ],
    ids=["another", "the public half", "zeros", "none", "too short", "too long", "text", "None"],
)
def test_another_key_does_not_open_it(secret_key):
    with pytest.raises(CannotOpen):
        open_sealed(SEALED, secret_key)


@settings(deadline=None)
@given(st.integers(0, len(SEALED) - 1))
def test_a_truncated_box_is_not_opened(length):
    with pytest.raises(CannotOpen):
        open_sealed(SEALED[:length], bytes(SECRET))


@settings(deadline=None)
@given(place=st.integers(0, len(SEALED) - 1), bit=st.integers(0, 7))
@example(place=31, bit=7)
def test_a_damaged_box_is_not_opened(place, bit):
    # Also where the curve ignores a bit: the highest of the sender's key, byte 31.
    damaged = bytearray(SEALED)
    damaged[place] ^= 1 << bit
    with pytest.raises(CannotOpen):
        open_sealed(bytes(damaged), bytes(SECRET))


def test_the_reason_for_a_failed_opening_shows_no_key():
    with pytest.raises(CannotOpen) as error:
        open_sealed(SEALED, b"Zaphod")
    assert "Zaphod" not in str(error.value)
    assert error.value.__suppress_context__
