"""System checks: what production refuses to start with, and what it warns of."""
from datetime import date, timedelta
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.utils import timezone
from nacl.exceptions import CryptoError

from . import development
from .cybersource.signature import SigningKey
from .keyrings import perma_keys, vault

TAG = "perma_payments"

KEY_WARNING = timedelta(days=60)
SECRET_LENGTH = 256


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
        settings.PERMA_PAYMENTS_SECRET_KEY in development.SECRET_HALVES, 3,
        "PERMA_PAYMENTS_SECRET_KEY is one of development's, which are public.",
        "Make a pair with manage.py generate_keys, set its secret half here, and give Perma.cc the public half.",
    )
    refuse_if(
        not development.PUBLIC_HALVES.isdisjoint(settings.PERMA_PUBLIC_KEYS.values()), 4,
        "PERMA_PUBLIC_KEYS holds one of development's keys, whose secret halves are public.",
        "Remove it, and set the public half of Perma.cc's own pair.",
    )
    refuse_if(
        settings.VAULT_PUBLIC_KEY[1] in development.PUBLIC_HALVES, 5,
        "VAULT_PUBLIC_KEY is one of development's, whose secret halves are public.",
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
        any(key.created_on is None or key.created_on > timezone.now().date() for key in settings.CS_KEYS), 8,
        "A key of CS_KEYS lacks the day when it was created, or names a day to come.",
        "Write each as access_key:secret_key:YYYY-MM-DD; the Business Center's Key Management shows the day.",
    )
    refuse_if(
        not (settings.PERMA_URL.startswith("https://") and settings.PAYMENTS_URL.startswith("https://")), 9,
        "PERMA_URL or PAYMENTS_URL is not https in production.",
        "Set both to addresses that browsers use, as in PERMA_URL=https://perma.cc",
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
    refuse_if(
        settings.ADMIN_ENABLED and not settings.REQUIRE_SECOND_FACTOR, 12,
        "The admin is on in production, and a password is enough to log in.",
        "Remove REQUIRE_SECOND_FACTOR, and give each staff account one with manage.py add_second_factor.",
    )
    refuse_if(
        any(len(key.secret) != SECRET_LENGTH for key in settings.CS_KEYS), 13,
        f"The secret of a key of CS_KEYS has not {SECRET_LENGTH} characters.",
        "Copy it again from the Business Center: with a part of it, CyberSource refuses every form.",
    )
    return errors


@register(TAG)
def check_signing_keys(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn while there is time to make a new security key at CyberSource."""
    today = timezone.now().date()
    return [message for key in settings.CS_KEYS if (message := age_of(key, today=today))]


@register(TAG)
def check_that_keys_work(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Refuse to start with keys of the right length that no message could be sealed with."""
    errors: list[CheckMessage] = []
    for name, try_it in (("PERMA_PUBLIC_KEYS", perma_keys), ("VAULT_PUBLIC_KEY", lambda: vault().seal(b""))):
        try:
            try_it()
        except (CryptoError, ValueError):
            errors.append(Error(
                f"{name} holds a key that nothing can be sealed with.",
                hint="Set the public half of a pair that manage.py generate_keys has made.",
                id="perma_payments.E014",
            ))
    return errors


@register(TAG)
def check_staff_can_end_tasks(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn where staff are mailed tasks that they could not mark as done, or could not log in."""
    messages: list[CheckMessage] = []
    if settings.IN_PRODUCTION and not settings.ADMIN_ENABLED:
        messages.append(Warning(
            "The admin is off, so staff cannot mark their tasks as done.", hint="Set ADMIN_ENABLED=true.",
            id="perma_payments.W003",
        ))
    if settings.IN_PRODUCTION and settings.ADMIN_ENABLED and not settings.BEHIND_HTTPS_PROXY:
        messages.append(Warning(
            "BEHIND_HTTPS_PROXY is off: behind a proxy, staff could not log in to the admin.",
            hint="Set BEHIND_HTTPS_PROXY=true if a proxy in front sets X-Forwarded-Proto itself.",
            id="perma_payments.W004",
        ))
    return messages


def age_of(key: SigningKey, *, today: date) -> CheckMessage | None:
    """A warning about a security key of CyberSource's that has ended, or ends within 60 days; else None."""
    end = key.ends_on
    if end is None or today + KEY_WARNING < end:
        return None
    return Warning(
        f"CyberSource's key {key.access_key} {'ended' if end <= today else 'ends'} on {end}.",
        hint="Create a new key in the Business Center, put it first in CS_KEYS, and keep this one behind it "
        "until no response to a form signed with it can come any more.",
        id="perma_payments.W001",
    )


def _is_weak(secret: str) -> bool:
    return (
        secret == development.SECRET_KEY
        or secret.startswith("django-insecure-")
        or len(secret) < 50
        or len(set(secret)) < 10
    )
