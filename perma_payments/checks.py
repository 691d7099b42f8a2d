"""System checks: warnings at the start and at a migration. What keeps it from starting is in setting_rules.py."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.utils import timezone

from .postgres import log_settings
from .services import database_role

TAG = "perma_payments"


@register(TAG)
def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn about keys that end soon, and about settings that are allowed but rarely intended."""
    return list(_warnings())


@register(Tags.database)
def check_log_of_postgresql(
    app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Warn if PostgreSQL's log may show payment tokens. ``migrate`` and ``check --database default`` run it."""
    if settings.IN_DEVELOPMENT or not databases or not (names := log_settings.indiscreet()):
        return []
    return [
        Warning(
            "PostgreSQL's log may show payment tokens, in statements that fail or are slow.",
            hint=f"Set {', '.join(names)} for the role in DATABASE_URL as in docs/operations.md, Logs.",
            id="perma_payments.W010",
        )
    ]


@register(Tags.database)
def check_role(app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn if the role in DATABASE_URL may do less than the service does, or more. Run the same way."""
    if settings.IN_DEVELOPMENT or not databases:
        return []
    found: list[CheckMessage] = []
    if tables := database_role.lacking():
        more = f" and {len(tables) - 1} other tables" if len(tables) > 1 else ""
        found.append(
            Warning(
                f"The role in DATABASE_URL may not do what the service does to {tables[0]}{more}.",
                hint="As the role that owns the tables, run manage.py grant_access, as after each migrate. "
                "See docs/deployment.md, Roles.",
                id="perma_payments.W011",
            )
        )
    # migrate runs as the owner, who may.
    if sys.argv[1:2] != ["migrate"] and database_role.emptied_by():
        found.append(
            Warning(
                "The role in DATABASE_URL could empty tables that the service only adds to. That is too much for "
                "the web server and the scheduler.",
                hint="Give them a role of their own, with manage.py grant_access. See docs/deployment.md, Roles.",
                id="perma_payments.W012",
            )
        )
    return found


def _warnings() -> Iterator[CheckMessage]:
    today = timezone.now().date()
    for key in settings.CS_KEYS:
        if key.ends_soon(today):
            yield Warning(
                f"CyberSource's key {key.access_key} {key.ending(today)}.",
                hint="Create a new key in the Business Center, and add it behind this one in CS_KEYS, on every "
                "machine. Then move it to the front, and remove this one a day later. See docs/keys.md.",
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
