"""Failed logins are counted, per account and per address, and too many of them are refused.

They are counted in PostgreSQL, because all worker processes must share the count: django-ratelimit's counts
are sound only on memcached or Redis, and this service has neither. A try is written down before the password
is looked at, and taken back if it succeeds; so tries at the same moment see each other, and a guesser gains
nothing by being quick.
"""

from datetime import datetime

from django.utils.crypto import salted_hmac

from ...models import LOGIN_ATTEMPT_COUNTS_FOR, LoginAttempt

# Of one address with one account: somebody who mistypes, or guesses.
MAX_ATTEMPTS = 5
# Of one address, whatever the account.
MAX_ATTEMPTS_PER_ADDRESS = 20
# With one account, wherever from. More than of one address: a stranger who knows a name must not be able to keep
# its owner out from a single address; few enough that guessing from very many addresses is hopeless.
MAX_ATTEMPTS_PER_ACCOUNT = 20


class TooManyAttempts(Exception):
    """Nobody may try this account, or from this address, for a while: not even with the right password."""


def begin(*, account: str, address: str | None, now: datetime) -> LoginAttempt:
    """Count a try as failed, until succeed() says otherwise. Raises TooManyAttempts, and then counts nothing."""
    this = LoginAttempt.objects.create(
        account=_digest("account", account.casefold()),
        address=_digest("address", address) if address else "",
        attempted_at=now,
    )
    if _too_many(this):
        this.delete()
        raise TooManyAttempts
    return this


def succeed(this: LoginAttempt) -> None:
    """The try has succeeded: it does not count."""
    this.delete()


def _too_many(this: LoginAttempt) -> bool:
    counted = LoginAttempt.objects.filter(attempted_at__gt=this.attempted_at - LOGIN_ATTEMPT_COUNTS_FOR)
    # Those without an address count as if they all came from one.
    if counted.filter(account=this.account, address=this.address).count() > MAX_ATTEMPTS:
        return True
    if counted.filter(account=this.account).count() > MAX_ATTEMPTS_PER_ACCOUNT:
        return True
    return bool(this.address) and counted.filter(address=this.address).count() > MAX_ATTEMPTS_PER_ADDRESS


def _digest(kind: str, text: str) -> str:
    return salted_hmac(f"{__name__}.{kind}", text, algorithm="sha256").hexdigest()
