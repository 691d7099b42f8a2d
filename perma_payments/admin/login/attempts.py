"""Limit failed logins: they are counted per account and per address, and too many are refused.

PostgreSQL counts them, because all worker processes must share the count, even without the shared cache that other
limits can use (views/limits.py). An attempt is recorded before the password is checked, and deleted if it
succeeds. So simultaneous attempts see each other, and guessing faster gains nothing.
"""

from datetime import datetime

from django.utils.crypto import salted_hmac

from ...models import LOGIN_ATTEMPT_COUNTS_FOR, LoginAttempt

# From one address with one account: someone who mistypes, or guesses.
MAX_ATTEMPTS = 5
# From one address, with any account.
MAX_ATTEMPTS_PER_ADDRESS = 20
# With one account, from any address. Enough that a stranger who knows a username cannot lock its owner out from a
# single address; few enough that guessing from very many addresses is hopeless.
MAX_ATTEMPTS_PER_ACCOUNT = 20


class TooManyAttempts(Exception):
    """Logins to this account, or from this address, are refused for a while, even with the right password."""


def begin(*, account: str, address: str | None, now: datetime) -> LoginAttempt:
    """Count an attempt, which the caller deletes if it succeeds. Raises TooManyAttempts without counting it."""
    attempt = LoginAttempt.objects.create(
        account=_digest("account", account.casefold()),
        address=_digest("address", address) if address else "",
        attempted_at=now,
    )
    if _too_many(attempt):
        attempt.delete()
        raise TooManyAttempts
    return attempt


def _too_many(attempt: LoginAttempt) -> bool:
    recent = LoginAttempt.objects.filter(attempted_at__gt=attempt.attempted_at - LOGIN_ATTEMPT_COUNTS_FOR)
    # Attempts without an address count as if they all came from one.
    if recent.filter(account=attempt.account, address=attempt.address).count() > MAX_ATTEMPTS:
        return True
    if recent.filter(account=attempt.account).count() > MAX_ATTEMPTS_PER_ACCOUNT:
        return True
    return bool(attempt.address) and recent.filter(address=attempt.address).count() > MAX_ATTEMPTS_PER_ADDRESS


def _digest(kind: str, text: str) -> str:
    return salted_hmac(f"{__name__}.{kind}", text, algorithm="sha256").hexdigest()
