"""Put in place of what a response has sealed the same, sealed to another key (docs/archive.md).

The service cannot open either of them. It checks what can be checked without a secret key, and that the old one is
kept elsewhere first.
"""

import hashlib
from collections.abc import Callable

import pghistory
import pgtrigger

from ..models import Response
from ..models.history import HistorySource
from .locks import lock_rows


class CannotReplace(Exception):
    """Why a response keeps what it has, in words that follow "Response 7"."""


def replace_sealed(
    response_id: int,
    *,
    old_key_id: str,
    old_digest: str,
    new_key_id: str,
    sealed: bytes,
    keep: Callable[[Response], None],
) -> bool:
    """Replace what a response has sealed. Return False if it is already sealed to the new key.

    ``old_digest`` is the SHA-256, in hex, of what was opened and resealed. ``keep`` gets the response as it was.
    Call this in a transaction. Raises CannotReplace.
    """
    response = next(iter(lock_rows(Response.objects.filter(pk=response_id))), None)
    if response is None:
        raise CannotReplace("does not exist")
    if response.archive_key_id == new_key_id:
        return False
    old = bytes(response.sealed)
    if (response.archive_key_id, hashlib.sha256(old).hexdigest()) != (old_key_id, old_digest):
        raise CannotReplace("does not hold what was resealed. Export it again")
    # A sealed box is 48 bytes longer than what is in it.
    if len(sealed) != len(old):
        raise CannotReplace("was resealed with another length, so that cannot be the same. Reseal it again")
    keep(response)
    with (
        pghistory.context(source=HistorySource.RESEALING, key=new_key_id),
        pgtrigger.ignore("perma_payments.Response:sealed_stays"),
    ):
        Response.objects.filter(pk=response_id).update(sealed=sealed, archive_key_id=new_key_id)
    return True
