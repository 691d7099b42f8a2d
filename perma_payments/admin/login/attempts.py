"""Limit failed logins: they are counted per account and per address, and too many are refused.

PostgreSQL counts them, because all worker processes must share the count, even without the shared cache that other
limits can use (views/limits.py). An attempt is recorded before the password is checked, and deleted if it
succeeds. So simultaneous attempts see each other, and guessing faster gains nothing.
"""

from datetime import datetime

from ...keyed_digests import keyed_digests
from ...models import LOGIN_ATTEMPT_COUNTS_FOR, LoginAttempt

# From one address with one account: someone who mistypes, or guesses.
MAX_ATTEMPTS = 5
# From one address, with any account.
MAX_ATTEMPTS_PER_ADDRESS = 20
# With one account, from any address. Enough that a stranger who knows a username cannot lock its owner out from a
# single address; few enough that guessing from very many addresses is hopeless.
MAX_ATTEMPTS_PER_ACCOUNT = 20


# What each is digested as.
ACCOUNT, ADDRESS = f"{__name__}.account", f"{__name__}.address"


class TooManyAttempts(Exception):
    """Logins to this account, or from this address, are refused for a while, even with the right password."""


def begin(*, account: str, address: str | None, now: datetime) -> LoginAttempt:
    """Count an attempt, which the caller deletes if it succeeds. Raises TooManyAttempts without counting it."""
    accounts = keyed_digests(ACCOUNT, account.casefold())
    addresses = keyed_digests(ADDRESS, address) if address else []
    attempt = LoginAttempt.objects.create(
        account=accounts[0], address=addresses[0] if addresses else "", attempted_at=now
    )
    if _too_many(accounts, addresses, now):
        attempt.delete()
        raise TooManyAttempts
    return attempt


def _too_many(accounts: list[str], addresses: list[str], now: datetime) -> bool:
    """Whether there were too many, counted by all digests that the account and the address may be stored as."""
    recent = LoginAttempt.objects.filter(attempted_at__gt=now - LOGIN_ATTEMPT_COUNTS_FOR)
    # Attempts without an address count as if they all came from one.
    if recent.filter(account__in=accounts, address__in=addresses or [""]).count() > MAX_ATTEMPTS:
        return True
    if recent.filter(account__in=accounts).count() > MAX_ATTEMPTS_PER_ACCOUNT:
        return True
    return recent.filter(address__in=addresses).count() > MAX_ATTEMPTS_PER_ADDRESS
