"""Limits per address on what people's browsers bring, so that one address cannot take the service from the others.

Perma.cc's servers and CyberSource are never refused because of a limit: on their routes nothing is counted, and
the cache is not asked. Nor is anyone refused if it is unknown where a request comes from, or if the cache is away.

Many people may share an address: a library, a law firm. So a good message is still accepted from an address that
sends bad ones, until there are so many that reading them would be the problem.
"""

import logging
import threading
from time import monotonic
from typing import Any

from django.http import HttpRequest
from django_ratelimit.core import get_usage
from redis.exceptions import AuthenticationError, RedisError, TimeoutError as NoAnswer

from ..addresses import address_of, is_this_machine

logger = logging.getLogger(__name__)

# Each per minute and address. Pages that are opened:
PAGE_VIEWS = 300
# Messages that are refused. Further bad ones get a 429:
REFUSALS = 60
# After so many, so do good ones, unread, except CyberSource's responses at /return/.
FLOOD = 600

# Seconds for which a cache that has failed is not asked again.
PAUSE = 60


class TooManyRequests(Exception):
    """Too many requests came from an address; ``seconds`` later, others are welcome."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def count_page_view(request: HttpRequest) -> None:
    """Count a page that is opened. Raises TooManyRequests."""
    _refuse_above(PAGE_VIEWS, _usage(request, "page views", PAGE_VIEWS, increment=True))


def count_refusal(request: HttpRequest) -> None:
    """Count a message that was refused. Raises TooManyRequests, for which the caller's own answer is given up."""
    _refuse_above(REFUSALS, _usage(request, "refusals", REFUSALS, increment=True))


def stop_flood(request: HttpRequest) -> None:
    """Raises TooManyRequests before a message is read, if very many were refused."""
    _refuse_above(FLOOD, _usage(request, "refusals", REFUSALS, increment=False))


def _refuse_above(limit: int, usage: dict[str, Any] | None) -> None:
    if usage and usage["count"] > limit:
        raise TooManyRequests(max(usage["time_left"], 1))


def _usage(request: HttpRequest, group: str, limit: int, *, increment: bool) -> dict[str, Any] | None:
    """What django-ratelimit knows of an address in this minute; None if nothing can be known."""
    address = address_of(request)
    if address is None or is_this_machine(address) or not _cache.may_be_asked():
        return None
    try:
        usage: dict[str, Any] | None = get_usage(
            request, group=group, key=lambda group, request: address, rate=f"{limit}/m", increment=increment
        )
    except (RedisError, OSError, ValueError) as error:
        _cache.has_failed(error)
        return None
    _cache.has_answered()
    return usage


class _Cache:
    """Whether the cache works. One that does not costs one request a minute its time-out, and the log one line."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._works = True
        self._ask_at = self._tell_at = 0.0

    def may_be_asked(self) -> bool:
        """Whether it works, or this is the one request that finds out, at the end of a pause."""
        if self._works:
            return True
        with self._lock:
            if self._ask_at > monotonic():
                return False
            self._ask_at = monotonic() + PAUSE
            return True

    def has_failed(self, error: Exception) -> None:
        with self._lock:
            now = monotonic()
            is_news = self._works or self._tell_at <= now
            if is_news:
                self._tell_at = now + PAUSE
            self._works, self._ask_at = False, now + PAUSE
        if is_news:
            logger.error("limits are off, because the cache cannot serve (CACHE_URL): %s", _describe(error))

    def has_answered(self) -> None:
        if not self._works:
            self._works = True
            logger.warning("limits are on again: the cache answers (CACHE_URL)")


_cache = _Cache()


def _describe(error: Exception) -> str:
    """What is wrong with the cache, without what it said: that may quote what it was sent."""
    if isinstance(error, NoAnswer):
        return "it did not answer in time"
    if isinstance(error, AuthenticationError):
        return "the user name or the password is wrong"
    return type(error).__name__
