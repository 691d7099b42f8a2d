"""System checks: what production refuses to start with, and what it warns of."""
from datetime import date, timedelta
from typing import Any

from dateutil.relativedelta import relativedelta
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.utils import timezone

from . import development
from .cybersource.signature import SigningKey

TAG = "perma_payments"

# CyberSource's keys stop working two years after they were made (cybersource.md §6).
KEY_LIFETIME = relativedelta(years=2)
KEY_WARNING = timedelta(days=60)


@register(TAG)
def check_production(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Refuse to start in production with what only development may use."""
    if not settings.IN_PRODUCTION:
        return []
    errors: list[CheckMessage] = []

    def refuse_if(condition: bool, number: int, problem: str, hint: str) -> None:
        if condition:
            errors.append(Error(problem, hint=hint, id=f"perma_payments.E{number:03}"))

    refuse_if(settings.DEBUG, 1, "DEBUG is on in production.", "Remove DEBUG, or set DEBUG=false.")
    refuse_if(
        _is_weak(settings.SECRET_KEY), 2, "SECRET_KEY is weak, or development's.",
        "Set SECRET_KEY to the 50 random characters that manage.py generate_keys prints.",
    )
    refuse_if(
        settings.PERMA_PAYMENTS_SECRET_KEY == development.PERMA_PAYMENTS_SECRET_KEY, 3,
        "PERMA_PAYMENTS_SECRET_KEY is development's, which is public.",
        "Make a pair with manage.py generate_keys, set its secret half here, and give Perma.cc the public half.",
    )
    refuse_if(
        not set(settings.PERMA_PUBLIC_KEYS.values()).isdisjoint(development.PERMA_PUBLIC_KEYS.values()), 4,
        "PERMA_PUBLIC_KEYS holds development's key, whose secret half is public.",
        "Remove it, and set the public half of Perma.cc's own pair.",
    )
    refuse_if(
        settings.VAULT_PUBLIC_KEY[1] == development.VAULT_PUBLIC_KEY[1], 5,
        "VAULT_PUBLIC_KEY is development's, whose secret half is public.",
        "Make a pair with manage.py generate_keys away from this server, and set its public half here.",
    )
    refuse_if(
        settings.CS_MODE != "live", 6, f"CS_MODE is {settings.CS_MODE} in production: nobody would be charged.",
        "Set CS_MODE=live.",
    )
    refuse_if(
        settings.CS_PROFILE_ID == development.CS_PROFILE_ID
        or any(settings.CS_KEYS.get(key.access_key) for key in development.CS_KEYS)
        or any(key.secret == known.secret for key in settings.CS_KEYS for known in development.CS_KEYS),
        7, "CS_PROFILE_ID or CS_KEYS is the sandbox's, which is public.",
        "Set the id and the security keys of the live profile, from the Business Center.",
    )
    refuse_if(
        any(key.created_on is None for key in settings.CS_KEYS), 8,
        "A key of CS_KEYS lacks the day when it was created.",
        "Write each as access_key:secret_key:YYYY-MM-DD; the Business Center's Key Management shows the day.",
    )
    refuse_if(
        not settings.PERMA_URL.startswith("https://"), 9, "PERMA_URL is not https in production.",
        "Set PERMA_URL to Perma.cc's address, as in PERMA_URL=https://perma.cc",
    )
    refuse_if(
        "*" in settings.ALLOWED_HOSTS, 10, "ALLOWED_HOSTS allows any host.",
        "List the host names that the service answers to.",
    )
    refuse_if(
        settings.MAIL_FROM.lower() == settings.MAIL_REPLY_TO.lower(), 11,
        "MAIL_FROM and MAIL_REPLY_TO are the same: Perma.cc's help desk files mail from its own address badly.",
        "Set MAIL_FROM to an address that is not the help desk's.",
    )
    return errors


@register(TAG)
def check_signing_keys(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn while there is time to make a new security key at CyberSource."""
    today = timezone.now().date()
    return [message for key in settings.CS_KEYS if (message := age_of(key, today=today))]


def age_of(key: SigningKey, *, today: date) -> CheckMessage | None:
    """A warning about a security key of CyberSource's that has ended, or ends within 60 days; else None."""
    if key.created_on is None:
        return None
    end = key.created_on + KEY_LIFETIME
    if today + KEY_WARNING < end:
        return None
    return Warning(
        f"CyberSource's key {key.access_key} {'ended' if end <= today else 'ends'} on {end}.",
        hint="Create a new key in the Business Center, put it first in CS_KEYS, and keep this one behind it "
        "until no response to a form signed with it can come any more.",
        id="perma_payments.W001",
    )


def _is_weak(secret: str) -> bool:
    return secret == development.SECRET_KEY or len(secret) < 50 or len(set(secret)) < 10
