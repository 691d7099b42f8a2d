"""The keys and profiles of the settings, made ready once per process."""

from functools import cache

from django.conf import settings

from .cybersource.checkout import Profile
from .perma.box import PermaKeys
from .sealed_archive import SealedArchive


@cache
def perma_keys() -> PermaKeys:
    """Our secret key with the ring of Perma.cc's public keys."""
    return PermaKeys(settings.PERMA_PAYMENTS_SECRET_KEY, settings.PERMA_PUBLIC_KEYS)


@cache
def profile() -> Profile:
    """Our profile at CyberSource, with the ring of its keys."""
    return Profile(
        profile_id=settings.CS_PROFILE_ID,
        keys=settings.CS_KEYS,
        base_url=settings.CS_BASE_URL,
        paths=settings.CS_PATHS,
    )


@cache
def sealed_archive() -> SealedArchive:
    """The public half of the offline key."""
    key_id, public_key = settings.ARCHIVE_PUBLIC_KEY
    return SealedArchive(key_id=key_id, public_key=public_key)
