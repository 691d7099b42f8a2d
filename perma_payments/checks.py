"""System checks: what the service warns of at the start. What it refuses is in setting_rules.py."""

from datetime import date, timedelta
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register
from django.utils import timezone

from .cybersource.signature import SigningKey
from .setting_rules import is_local

TAG = "perma_payments"

KEY_WARNING = timedelta(days=60)


@register(TAG)
def check_signing_keys(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn while there is time to make a new security key at CyberSource."""
    today = timezone.now().date()
    return [message for key in settings.CS_KEYS if (message := age_of(key, today=today))]


@register(TAG)
def check_staff_can_end_tasks(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn where staff are mailed tasks that they could not mark as done, or could not log in."""
    messages: list[CheckMessage] = []
    if not settings.IN_DEVELOPMENT and not settings.ADMIN_ENABLED:
        messages.append(
            Warning(
                "The admin is off, so staff cannot mark their tasks as done.",
                hint="Set ADMIN_ENABLED=true.",
                id="perma_payments.W003",
            )
        )
    if not settings.IN_DEVELOPMENT and settings.ADMIN_ENABLED and not settings.BEHIND_HTTPS_PROXY:
        messages.append(
            Warning(
                "BEHIND_HTTPS_PROXY is off: behind a proxy, staff could not log in to the admin.",
                hint="Set BEHIND_HTTPS_PROXY=true if a proxy in front sets X-Forwarded-Proto itself.",
                id="perma_payments.W004",
            )
        )
    return messages


@register(TAG)
def check_mail_is_encrypted(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn where mail, and the password for it, crosses a network in clear."""
    encrypted = settings.EMAIL_USE_TLS or settings.EMAIL_USE_SSL
    if settings.IN_DEVELOPMENT or encrypted or is_local(settings.EMAIL_HOST):
        return []
    return [
        Warning(
            "EMAIL_USE_TLS and EMAIL_USE_SSL are off: mail and EMAIL_HOST_PASSWORD cross the network unencrypted.",
            hint="Remove EMAIL_USE_TLS=false, or set EMAIL_USE_SSL=true for a mail server on port 465.",
            id="perma_payments.W005",
        )
    ]


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
