"""The keys and profiles of the settings, made ready once per process."""

from functools import cache

from django.conf import settings

from .cybersource.checkout import Merchant
from .perma.box import PermaKeys
from .vault import Vault


@cache
def perma_keys() -> PermaKeys:
    """Our secret key with the ring of Perma.cc's public keys."""
    return PermaKeys(settings.PERMA_PAYMENTS_SECRET_KEY, settings.PERMA_PUBLIC_KEYS)


@cache
def merchant() -> Merchant:
    """Our profile at CyberSource, with the ring of its keys."""
    return Merchant(
        profile_id=settings.CS_PROFILE_ID,
        keys=settings.CS_KEYS,
        base_url=settings.CS_BASE_URL,
        paths=settings.CS_PATHS,
    )


@cache
def vault() -> Vault:
    """The public half of the offline key."""
    key_id, public_key = settings.VAULT_PUBLIC_KEY
    return Vault(key_id=key_id, public_key=public_key)
