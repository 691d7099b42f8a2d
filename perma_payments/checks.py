"""System checks: warnings when the service starts. What keeps it from starting is in setting_rules.py."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register
from django.utils import timezone

from .setting_rules import is_local

TAG = "perma_payments"


@register(TAG)
def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn about keys that end soon, and about settings that are allowed but rarely intended."""
    return list(_warnings())


def _warnings() -> Iterator[CheckMessage]:
    today = timezone.now().date()
    for key in settings.CS_KEYS:
        if key.ends_on and key.ends_soon(today):
            ends = "ended" if key.ends_on <= today else "ends"
            yield Warning(
                f"CyberSource's key {key.access_key} {ends} on {key.ends_on}.",
                hint="Create a new key in the Business Center, and add it behind this one in CS_KEYS, on every "
                "machine. Then move it to the front, and remove this one a day later. See "
                'docs/operations.md, "Keys".',
                id="perma_payments.W001",
            )
    if settings.IN_DEVELOPMENT:
        return
    if not settings.ADMIN_ENABLED:
        yield Warning(
            "The admin is off, so staff cannot mark their tasks as done.",
            hint="Set ADMIN_ENABLED=true.",
            id="perma_payments.W003",
        )
    elif not settings.BEHIND_HTTPS_PROXY:
        yield Warning(
            "BEHIND_HTTPS_PROXY is off: behind a proxy, staff could not log in to the admin.",
            hint="Set BEHIND_HTTPS_PROXY=true if a proxy in front sets X-Forwarded-Proto itself.",
            id="perma_payments.W004",
        )
    if not (settings.EMAIL_USE_TLS or settings.EMAIL_USE_SSL or is_local(settings.EMAIL_HOST)):
        yield Warning(
            "EMAIL_USE_TLS and EMAIL_USE_SSL are off: mail and EMAIL_HOST_PASSWORD cross the network unencrypted.",
            hint="Remove EMAIL_USE_TLS=false, or set EMAIL_USE_SSL=true for a mail server on port 465.",
            id="perma_payments.W005",
        )
