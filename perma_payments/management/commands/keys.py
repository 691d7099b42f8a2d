"""``manage.py keys``: which keys are held, which of them are used, and what to do next."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import Error
from django.db.models import Count, Max
from django.utils import timezone

from ...cybersource.signature import WARN_BEFORE_END
from ...models import KeyUse, Response, Ring
from ...postgres.problems import describe
from ...services.key_uses import WRITE_EVERY

# How long a response to a form that an old key signed may take to come: pages stay open, and callbacks come late.
LATE_RESPONSES = timedelta(days=1)


@dataclass(frozen=True)
class Key:
    """A key without its secret. ``last_used_at`` is None if no use of it was recorded."""

    id: str
    created_on: date | None
    last_used_at: datetime | None


class Sealed(NamedTuple):
    """How many responses are sealed to a key of the archive, and when the newest was received."""

    key_id: str
    responses: int
    newest: datetime


Uses = dict[tuple[str, str], datetime]  # by ring and id
Step = Callable[[Sequence[Key], datetime], str]

BEGIN = "nothing. To change it, add the new one behind it, on every machine."
NOT_KNOWN = "not known without the uses. Run this again when the database answers."


class Command(BaseCommand):
    help = (
        "List the keys that this machine's settings hold, when any machine last used them, and which step of a "
        "change comes next. No secret is shown. docs/keys.md has the steps for each key."
    )
    # Its own sentences say what the checks would warn of.
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write("\n".join(report(now=timezone.now())))


def report(*, now: datetime) -> Iterator[str]:
    """Yield the lines of the report."""
    yield "The keys in this machine's settings. When they were last used, on any machine, is recorded hourly."
    uses: Uses | None = None
    sealed: list[Sealed] | None = None
    try:
        uses = {(use.ring, use.key_id): use.last_used_at for use in KeyUse.objects.all()}
        sealed = _sealed()
    except Error as error:
        yield f"When they were used is not known: the database did not answer ({describe(error)})."

    def ring(name: Ring, what: str, ids: dict[str, date | None], role: str, step: Step) -> Iterator[str]:
        keys = [Key(key_id, created_on, (uses or {}).get((name, key_id))) for key_id, created_on in ids.items()]
        yield f"\n{name}: {what}"
        for key in keys:
            last = _last_use(key, now) if uses is not None else "use unknown"
            yield f"  {key.id}  {_age(key.created_on, now)}, {role if key is keys[0] else 'accepted'}, {last}"
        if name == Ring.CYBERSOURCE:
            yield f"  Due: {_due(_newest(keys), now.astimezone(UTC).date())}"
        yield f"  Next: {NOT_KNOWN if uses is None else step(keys, now)}"

    ours = {key_id: date_in(key_id) for key_id in settings.PERMA_PAYMENTS_SECRET_KEYS}
    give = partial(_step_with_perma, "give its public half to Perma.cc")
    yield from ring(Ring.OURS, "our pairs; Perma.cc has the public halves", ours, "accepted", give)
    permas = {key_id: date_in(key_id) for key_id in settings.PERMA_PUBLIC_KEYS}
    tell = partial(_step_with_perma, "tell Perma.cc to use its secret half")
    yield from ring(Ring.PERMAS, "Perma.cc's pairs", permas, "accepted", tell)
    cybersource = {key.access_key: key.created_on for key in settings.CS_KEYS}
    what = "the profile's security keys"
    yield from ring(Ring.CYBERSOURCE, what, cybersource, "signs", _step_with_cybersource)
    yield from _archive(sealed, now)
    yield from _others()


def date_in(key_id: str) -> date | None:
    """The day with which an id begins, as YYYY-MM-DD or YYYY-MM (then the first); None if it begins otherwise."""
    if not (found := re.match(r"(\d{4})-(\d\d)(?:-(\d\d))?(?!\d)", key_id)):
        return None
    year, month, day = found.groups()
    try:
        return date(int(year), int(month), int(day or 1))
    except ValueError:
        return None


def _last_use(key: Key, now: datetime) -> str:
    if key.last_used_at is None:
        return "no use recorded"
    return f"last used {key.last_used_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC, {_ago(key.last_used_at, now)}"


def _age(created_on: date | None, now: datetime) -> str:
    if created_on is None:
        return "age unknown"
    days = max((now.astimezone(UTC).date() - created_on).days, 0)
    return f"{days} day{'' if days == 1 else 's'} old"


def _ago(time: datetime, now: datetime) -> str:
    hours = (now - time) // timedelta(hours=1)
    if hours < 1:
        return "in the last hour"
    if hours < 48:
        return f"{hours} hour{'' if hours == 1 else 's'} ago"
    return f"{hours // 24} days ago"


# --- Which step comes next --------------------------------------------------------------------------


def _newest(keys: Sequence[Key]) -> Key:
    """The key that is to replace the others: the youngest, or the one in the last place if ages don't tell."""
    dated = [(key.created_on, key) for key in keys if key.created_on]
    youngest = [key for created_on, key in dated if created_on == max(other for other, _ in dated)]
    return youngest[0] if len(dated) == len(keys) and len(youngest) == 1 else keys[-1]


def _step_with_perma(then: str, keys: Sequence[Key], now: datetime) -> str:
    """The next step for a ring in which Perma.cc decides which key is used."""
    if len(keys) == 1:
        return BEGIN
    new = _newest(keys)
    if new.last_used_at is None:
        return f"{new.id} is accepted on every machine? Then {then}."
    return _removals([key for key in keys if key is not new], settings.PERMA_FRESHNESS.browser, now)


def _step_with_cybersource(keys: Sequence[Key], now: datetime) -> str:
    if len(keys) == 1:
        return BEGIN
    new = _newest(keys)
    if new is not keys[0]:
        return f"{new.id} is accepted on every machine? Then move it to the front."
    if new.last_used_at is None:
        return f"put {new.id} first on every machine. It has signed nothing yet."
    return _removals(keys[1:], LATE_RESPONSES, now)


def _removals(old: Sequence[Key], unused_for: timedelta, now: datetime) -> str:
    """Say which old keys can be removed: those whose longest-lived messages have all come."""
    # A use is recorded once an hour, so the last one may be an hour later than what is recorded.
    unused_for += WRITE_EVERY
    steps = []
    for key in old:
        if key.last_used_at is None:
            steps.append(f"no use of the old key {key.id} was recorded: remove it")
        elif now - key.last_used_at >= unused_for:
            steps.append(f"the old key {key.id} was last used {_ago(key.last_used_at, now)}: remove it")
        else:
            end = key.last_used_at + unused_for
            steps.append(
                f"the old key {key.id} is still used: remove it when it has not been used for a while, "
                f"not before {end:%Y-%m-%d %H:%M} UTC"
            )
    return f"{'; '.join(steps)}."


def _due(newest: Key, today: date) -> str:
    signs = settings.CS_KEYS.current
    if signs.access_key != newest.id and signs.ends_soon(today):
        return f"{signs.access_key} still signs, and {signs.ending(today)}."
    key = next(key for key in settings.CS_KEYS if key.access_key == newest.id)
    if key.ends_on is None:
        return "unknown, because the day when the key was created is not set."
    when = "now" if key.ends_soon(today) else f"from {key.ends_on - WARN_BEFORE_END} on"
    return f"{key.access_key} {key.ending(today)}. Create the next one in the Business Center {when}."


# --- Keys that are not in a ring --------------------------------------------------------------------


def _sealed() -> list[Sealed]:
    responses = Response.objects.exclude(archive_key_id="").values_list("archive_key_id")
    return [Sealed(*row) for row in responses.annotate(Count("id"), Max("received_at")).order_by("-id__count")]


def _archive(sealed: Sequence[Sealed] | None, now: datetime) -> Iterator[str]:
    yield "\nARCHIVE_PUBLIC_KEY: the public half of the archive's pair; its secret half is offline"
    current = settings.SEALED_ARCHIVE.key_id
    by_key = {each.key_id: each for each in sealed or []}
    for key_id in dict.fromkeys([current, *by_key]):
        role = "seals" if key_id == current else "no longer set"
        use = "use unknown" if sealed is None else "nothing is sealed to it yet"
        if this := by_key.get(key_id):
            use = f"responses sealed to it: {this.responses}, the last one {_ago(this.newest, now)}"
        yield f"  {key_id}  {_age(date_in(key_id), now)}, {role}, {use}"
    yield "  Next: nothing. Keep the secret half of each key listed here: it opens what was sealed to it."


def _others() -> Iterator[str]:
    fallbacks = len(settings.SECRET_KEY_FALLBACKS)
    yield f"\nSECRET_KEY: signs logins, links and customers' pages\n  held, age unknown; fallbacks: {fallbacks}"
    if fallbacks:
        yield (
            "  Next: every machine has the new key as a fallback? Then exchange it with SECRET_KEY. "
            "Every machine did so two days ago? Then remove the old one."
        )
    else:
        yield "  Next: nothing. To change it, set the new one as a fallback, on every machine."
    database = settings.DATABASES["default"]
    user, password = database.get("USER") or "not set", "held" if database.get("PASSWORD") else "not held"
    yield f"\nDATABASE_URL: the database's login role\n  user: {user}; password: {password}"
    held = "held" if settings.EMAIL_HOST_USER else "not held"
    yield f"\nEMAIL_HOST_USER, EMAIL_HOST_PASSWORD: the login at the mail server\n  user and password: {held}"
