"""The cache, which holds nothing but counts: in the Redis of CACHE_URL, or in the memory of each process."""

import re
from typing import Any
from urllib.parse import urlsplit

from redis.backoff import NoBackoff
from redis.retry import Retry

from .env import BadValue, matching

# Without a shared cache. Old counts make room for new ones, so it stays small.
OWN_MEMORY = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 10_000}}

# Seconds to connect, and for each answer. Redis takes less than a thousandth of that.
TIMEOUT = 0.2


class Numbers:
    """How counts are written. Django's own way would run what a stranger has put into the cache."""

    def dumps(self, number: int) -> int:
        return number

    def loads(self, data: bytes) -> int:
        """Raises ValueError for anything but a number."""
        return int(data)


def cache(url: str) -> dict[str, Any]:
    """Return Django's settings for the Redis of a URL. Raises ValueError for any other URL."""
    if "#" in url:
        raise BadValue("contains an unescaped #")
    # In a password, one of these unescaped shifts the parts after it.
    parts = urlsplit(matching(r"rediss?://([^/?@]*@)?[^/?@]+(/[0-9]{1,3})?")(url))
    if re.search(r"%(?![0-9A-Fa-f]{2})", url) or not parts.hostname or parts.port == 0:
        raise ValueError
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        # In a list, because Django splits a text at commas and semicolons, which a password may hold.
        "LOCATION": [url],
        "KEY_PREFIX": "perma-payments",
        "OPTIONS": {
            "serializer": "perma_payments.cache.Numbers",
            "socket_connect_timeout": TIMEOUT,
            "socket_timeout": TIMEOUT,
            # A connection that was idle for long may be gone without a word, so one more attempt.
            "retry": Retry(NoBackoff(), 1),
        },
    }
