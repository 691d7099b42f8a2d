"""The address of a database, as DATABASE_URL gives it."""

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import dj_database_url
import psycopg2.extensions

from ..env import BadValue, matching


def database(url: str) -> dict[str, Any]:
    """Return Django's settings for the database of a URL. Raises ValueError for any URL but PostgreSQL's."""
    if "#" in url:
        raise BadValue("contains an unescaped #")
    # In a password, one of these unescaped shifts the parts after it, or means something else than it seems to.
    parts = urlsplit(matching(r"postgres(ql)?://([^/?@]*@)?[^/?@]*(/[^/?@]*)?(\?.*)?")(url))
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00", url):
        raise ValueError
    if parts.path in ("", "/"):
        raise BadValue("names no database")
    if parts.port == 0 or len(parts.path) > 64:  # A slash, and PostgreSQL's 63 bytes.
        raise ValueError
    parse_qsl(parts.query, strict_parsing=bool(parts.query))
    config = dj_database_url.parse(url, conn_max_age=600, conn_health_checks=True)
    options: dict[str, Any] = {
        # For idle connections whose other end is gone; those in use have time limits (base.py).
        "keepalives_idle": 30,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        **config.get("OPTIONS", {}),
    }
    float(options.get("connect_timeout", 0))
    try:
        psycopg2.extensions.make_dsn(**options)
    except psycopg2.ProgrammingError:
        raise ValueError from None
    return {
        **config,
        "ENGINE": "perma_payments.postgres",
        # A pooler such as PgBouncer may give each transaction another connection.
        "DISABLE_SERVER_SIDE_CURSORS": True,
        "OPTIONS": options,
    }
