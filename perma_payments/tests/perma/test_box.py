"""A message is opened with whichever keys of the two rings fit, or refused."""

import base64

import pytest
from hypothesis import given, settings, strategies as st
from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey

from perma_payments.perma.box import KeyPair, PermaKeys, Unreadable

from .. import perma_cc

# Perma.cc's pair and ours, after both have changed.
PERMAS, OURS = PrivateKey.generate(), PrivateKey.generate()

KEYS = PermaKeys(
    {"old": perma_cc.PERMA_PAYMENTS_SECRET, "new": bytes(OURS)},
    {"old": perma_cc.PERMA_PUBLIC, "new": bytes(PERMAS.public_key)},
)
OLD = KeyPair("old", "old")
# What Perma.cc seals with, by the keys that are to be told from it: (ours, Perma.cc's).
BOXES = {
    OLD: perma_cc.BOX,
    ("old", "new"): Box(PERMAS, PublicKey(perma_cc.PERMA_PAYMENTS_PUBLIC)),
    ("new", "old"): Box(PrivateKey(perma_cc.PERMA_SECRET), OURS.public_key),
    ("new", "new"): Box(PERMAS, OURS.public_key),
}
every_pair = pytest.mark.parametrize("keys", BOXES)
NONCE = bytes(range(24))
# A message of 12,248 bytes fills the 16,384 characters that a message may have.
LONGEST = 12_248


def test_a_message_of_the_client_is_opened():
    assert KEYS.open(perma_cc.seal(b"contents")).plaintext == b"contents"


def test_the_nonce_of_a_message_is_its_first_24_bytes():
    assert KEYS.open(perma_cc.seal(b"contents", nonce=NONCE)).nonce == NONCE


@every_pair
def test_any_key_of_ours_opens_with_any_of_permas_and_both_are_named(keys):
    assert KEYS.open(perma_cc.seal(b"contents", box=BOXES[keys])).keys == keys


@every_pair
def test_a_reply_is_sealed_with_the_keys_of_its_request(keys):
    opened = KEYS.open(perma_cc.seal(b"request", box=BOXES[keys]))
    for other in BOXES.keys() - {keys}:
        KEYS.open(perma_cc.seal(b"another thread's request", box=BOXES[other]))

    reply = base64.b64decode(KEYS.seal(b"reply", keys=opened.keys))

    assert BOXES[keys].decrypt(reply) == b"reply"
    for other in BOXES.keys() - {keys}:
        with pytest.raises(CryptoError):
            BOXES[other].decrypt(reply)


@every_pair
def test_the_keys_of_the_latest_message_are_tried_first(keys, monkeypatch):
    message = perma_cc.seal(b"contents", box=BOXES[keys])
    KEYS.open(message)
    tried = []
    decrypt = Box.decrypt
    monkeypatch.setattr(Box, "decrypt", lambda box, sealed: tried.append(box) or decrypt(box, sealed))

    assert KEYS.open(message).keys == keys
    assert len(tried) == 1


def test_each_reply_has_a_nonce_of_its_own():
    assert KEYS.seal(b"reply", keys=OLD)[:32] != KEYS.seal(b"reply", keys=OLD)[:32]


def test_a_ring_without_keys_is_refused():
    with pytest.raises(ValueError, match=r"^the ring of our secret keys is empty$"):
        PermaKeys({}, {"old": perma_cc.PERMA_PUBLIC})
    with pytest.raises(ValueError, match=r"^the ring of Perma.cc's public keys is empty$"):
        PermaKeys({"old": perma_cc.PERMA_PAYMENTS_SECRET}, {})


def test_a_message_sealed_with_a_key_outside_the_ring_is_refused():
    stranger = Box(PrivateKey.generate(), PublicKey(perma_cc.PERMA_PAYMENTS_PUBLIC))
    with pytest.raises(Unreadable, match=r"^none of our keys opens it$"):
        KEYS.open(perma_cc.seal(b"contents", box=stranger))


def test_a_message_sealed_for_another_receiver_is_refused():
    box = Box(PrivateKey(perma_cc.PERMA_SECRET), PrivateKey.generate().public_key)
    with pytest.raises(Unreadable, match=r"^none of our keys opens it$"):
        KEYS.open(perma_cc.seal(b"contents", box=box))


@pytest.mark.parametrize(
    "start, inserted, rest",
    [
        (0, " ", 0),
        (8, "\n", 8),
        (64, "\n", 64),
        (8, "-_", 10),
        (8, "%2B", 8),
        (8, "é", 9),
        (8, "\ud800", 9),
        (8, "=", 8),
        (63, "", 64),
        (64, "A", 64),
        (0, "{}", 64),
    ],
)
def test_text_that_is_not_base64_is_refused(start, inserted, rest):
    text = perma_cc.seal(b"contents")
    assert len(text) == 64
    with pytest.raises(Unreadable, match=r"^not base64$"):
        KEYS.open(text[:start] + inserted + text[rest:])


@pytest.mark.parametrize("length", [0, 1, 23])
def test_text_shorter_than_a_nonce_is_refused(length):
    with pytest.raises(Unreadable, match=r"^too short for a box$"):
        KEYS.open(base64.b64encode(NONCE[:length]).decode())


@settings(deadline=None)
@given(length=st.integers(0, 47))
def test_a_message_cut_short_anywhere_is_refused(length):
    sealed = base64.b64decode(perma_cc.seal(b"contents"))
    assert len(sealed) == 48
    with pytest.raises(Unreadable):
        KEYS.open(base64.b64encode(sealed[:length]).decode())


@settings(deadline=None)
@given(place=st.integers(0, 47), bit=st.integers(0, 7))
def test_a_message_with_any_bit_turned_is_refused(place, bit):
    sealed = bytearray(base64.b64decode(perma_cc.seal(b"contents")))
    sealed[place] ^= 1 << bit
    with pytest.raises(Unreadable):
        KEYS.open(base64.b64encode(sealed).decode())


def test_a_message_of_the_greatest_length_is_opened():
    message = perma_cc.seal(b"x" * LONGEST)
    assert len(message) == 16_384
    assert KEYS.open(message).plaintext == b"x" * LONGEST


def test_a_longer_message_is_refused():
    with pytest.raises(Unreadable, match="too many"):
        KEYS.open(perma_cc.seal(b"x" * (LONGEST + 1)))


@settings(deadline=None)
@given(st.text(st.characters()) | st.binary().map(lambda sealed: base64.b64encode(sealed).decode()))
def test_opening_anything_raises_only_unreadable(text):
    with pytest.raises(Unreadable):
        KEYS.open(text)


@settings(deadline=None)
@given(st.binary(max_size=LONGEST))
def test_whatever_the_client_seals_is_opened_unchanged(contents):
    assert KEYS.open(perma_cc.seal(contents)).plaintext == contents


@settings(deadline=None)
@given(st.binary(max_size=LONGEST))
def test_whatever_is_sealed_for_the_client_it_opens_unchanged(contents):
    assert perma_cc.BOX.decrypt(base64.b64decode(KEYS.seal(contents, keys=OLD))) == contents
