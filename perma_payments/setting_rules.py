"""Which settings do not go together: what is only fit for development, keys in the wrong place, impossible mail.

Staging and production refuse everything published or weak. Development, which has published keys, no second factor
and no secure cookies, refuses everything real: so a server without PERMA_PAYMENTS_ENV does not start.
"""

import ipaddress
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone
from nacl.public import PrivateKey

from . import development

SECRET_LENGTH = 256

# Which CyberSource an environment is for.
CS_MODES = {"development": "sandbox", "staging": "test", "production": "live"}


def conflicts(settings: Any) -> Iterator[str]:
    """Yield a sentence for each conflict among the attributes of ``settings``; it names them."""
    if settings.IN_DEVELOPMENT:
        yield from _real(settings)
    else:
        yield from _published(settings)
        yield from _weak(settings)
    yield from _misplaced_keys(settings)
    yield from _impossible_mail(settings)
    if settings.METRICS_TOKEN and not settings.METRICS_DIR:
        yield (
            "METRICS_TOKEN is set, and METRICS_DIR is not. Set it to a directory in which the web server can "
            "write, as in METRICS_DIR=/run/perma-payments: its processes count there together."
        )


def _real(settings: Any) -> Iterator[str]:
    if settings.CS_MODE != "sandbox":
        yield (
            f"CS_MODE is {settings.CS_MODE} in development, which only knows the sandbox. Set "
            "PERMA_PAYMENTS_ENV=staging for CyberSource's test system, or PERMA_PAYMENTS_ENV=production for the "
            "live one."
        )
    hosts = [("ALLOWED_HOSTS", host) for host in settings.ALLOWED_HOSTS]
    for name in ("PERMA_URL", "PAYMENTS_URL", "CS_SANDBOX_URL"):
        hosts.append((name, urlsplit(getattr(settings, name)).hostname or ""))
    if settings.SCHEDULER_PING_URL:
        # It would tell production's monitor that production's scheduler works.
        hosts.append(("SCHEDULER_PING_URL", urlsplit(settings.SCHEDULER_PING_URL).hostname or ""))
    if real := list(dict.fromkeys(name for name, host in hosts if not is_local(host))):
        yield (
            f"A real host is named in {', '.join(real)}, but PERMA_PAYMENTS_ENV is development (its default), "
            "which accepts published keys. On a server, set PERMA_PAYMENTS_ENV=production (or staging). On a "
            "developer's machine, use localhost."
        )


def is_local(host: str) -> bool:
    """Return whether a host is this machine, or what Docker calls it: never one that is reachable from outside."""
    host = host.strip("[]").lower()
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in development.ALLOWED_HOSTS or host.endswith((".localhost", ".test"))


def _published(settings: Any) -> Iterator[str]:
    published = development.SECRET_HALVES | development.PUBLIC_HALVES
    if not published.isdisjoint(settings.PERMA_PAYMENTS_SECRET_KEYS.values()):
        yield (
            "PERMA_PAYMENTS_SECRET_KEYS holds one of development's keys, which are public. Make a pair with "
            "manage.py generate_keys, set its secret half here, and give Perma.cc the public half."
        )
    if not published.isdisjoint(settings.PERMA_PUBLIC_KEYS.values()):
        yield (
            "PERMA_PUBLIC_KEYS holds one of development's keys, whose secret halves are public. "
            "Remove it, and set the public half of Perma.cc's own pair."
        )
    if settings.ARCHIVE_PUBLIC_KEY[1] in published:
        yield (
            "ARCHIVE_PUBLIC_KEY is one of development's, whose secret halves are public. Make a pair with "
            "manage.py generate_keys --archive away from this server, and set its public half here."
        )
    if settings.CS_PROFILE_ID == development.CS_PROFILE_ID:
        yield (
            "CS_PROFILE_ID is the sandbox's, which is public. Set the id of the profile, from the Business Center."
        )
    known = development.CS_KEYS.current
    if any(key.access_key == known.access_key or key.secret == known.secret for key in settings.CS_KEYS):
        yield (
            "CS_KEYS holds the sandbox's key, which is public. "
            "Set the security keys of the profile, from the Business Center."
        )


def _weak(settings: Any) -> Iterator[str]:
    place, mode = settings.PERMA_PAYMENTS_ENV, CS_MODES[settings.PERMA_PAYMENTS_ENV]
    if settings.DEBUG:
        yield f"DEBUG is on in {place}. Remove DEBUG, or set DEBUG=false."
    if _is_weak(settings.SECRET_KEY):
        yield (
            "SECRET_KEY is weak, or development's. "
            "Set SECRET_KEY to the 50 random characters that manage.py generate_keys prints."
        )
    if any(_is_weak(key) for key in settings.SECRET_KEY_FALLBACKS):
        yield (
            "A key in SECRET_KEY_FALLBACKS is weak, development's, or part of one with a comma in it. Remove it: "
            "what it has signed is lost, so staff have to log in again."
        )
    if settings.CS_MODE != mode:
        yield (
            f"CS_MODE is {settings.CS_MODE} in {place}. Set CS_MODE={mode}, or another PERMA_PAYMENTS_ENV: "
            "staging is for CyberSource's test system (test), production for its live one (live)."
        )
    if any(key.created_on is None or key.created_on > timezone.now().date() for key in settings.CS_KEYS):
        yield (
            "A key in CS_KEYS has no creation date, or one in the future. "
            "Write each as access_key:secret_key:YYYY-MM-DD; the Business Center's Key Management shows the date."
        )
    if any(len(key.secret) != SECRET_LENGTH for key in settings.CS_KEYS):
        yield (
            f"A secret key in CS_KEYS is not {SECRET_LENGTH} characters long. "
            "Copy it again from the Business Center: with part of it, CyberSource refuses every form."
        )
    for name, example in (("PERMA_URL", "https://perma.cc"), ("PAYMENTS_URL", "https://payments.example.org")):
        if not getattr(settings, name).startswith("https://"):
            yield (
                f"{name} does not use https in {place}. Set the address that browsers use, as in {name}={example}"
            )
    if settings.SCHEDULER_PING_URL.startswith("http:"):
        yield f"SCHEDULER_PING_URL does not use https in {place}. Set the https address of the same monitor."
    if "*" in settings.ALLOWED_HOSTS:
        yield "ALLOWED_HOSTS allows any host. List the host names that the service answers to."
    if settings.MAIL_FROM.lower() == settings.MAIL_REPLY_TO.lower():
        yield (
            "MAIL_FROM and MAIL_REPLY_TO are the same, but Perma.cc's help desk misfiles mail from its own "
            "address. Set MAIL_FROM to an address that is not the help desk's."
        )
    encrypted = settings.EMAIL_USE_TLS or settings.EMAIL_USE_SSL
    # Port 465 has a sentence of its own below.
    if not (encrypted or is_local(settings.EMAIL_HOST) or settings.EMAIL_PORT == 465):
        yield (
            "EMAIL_USE_TLS and EMAIL_USE_SSL are off, so mail and EMAIL_HOST_PASSWORD would cross the network "
            "unencrypted. Remove EMAIL_USE_TLS=false, or set EMAIL_USE_SSL=true for a mail server on port 465. "
            "Only a mail server on this machine (EMAIL_HOST=localhost) needs neither."
        )
    if settings.ADMIN_ENABLED and not settings.REQUIRE_SECOND_FACTOR:
        yield (
            f"The admin is on in {place}, and a password is enough to log in. "
            "Remove REQUIRE_SECOND_FACTOR, and give each staff account one with manage.py add_second_factor."
        )


def _is_weak(secret: str) -> bool:
    return (
        len(secret) < 50
        or len(set(secret)) < 10
        or secret.startswith((development.SECRET_KEY, "django-insecure-"))
    )


def _misplaced_keys(settings: Any) -> Iterator[str]:
    # Each key is compared as what it should be, and as the other half that it could be by mistake.
    ours = {half for key in settings.PERMA_PAYMENTS_SECRET_KEYS.values() for half in _halves(key)}
    ring = set(settings.PERMA_PUBLIC_KEYS.values())
    archive = _halves(settings.ARCHIVE_PUBLIC_KEY[1])
    if any(ours & _halves(key) for key in ring):
        yield (
            "PERMA_PUBLIC_KEYS holds a key of a pair of our own, one of PERMA_PAYMENTS_SECRET_KEYS. "
            "Set the public half of Perma.cc's pair, which Perma.cc's operators have."
        )
    if ours & archive:
        yield (
            "ARCHIVE_PUBLIC_KEY is a key of a pair in PERMA_PAYMENTS_SECRET_KEYS, so this server could open the "
            "archive. Make another pair with manage.py generate_keys --archive away from this server, and set its "
            "public half."
        )
    if ring & archive:
        yield (
            "ARCHIVE_PUBLIC_KEY is a key of Perma.cc's pair, that of PERMA_PUBLIC_KEYS, so Perma.cc's servers "
            "could open the archive. Make another pair with manage.py generate_keys --archive away from this "
            "server, and set its public half."
        )


def _halves(key: bytes) -> set[bytes]:
    """Return a key, and the public half of its pair if it is a secret half."""
    return {key, bytes(PrivateKey(key).public_key)}


def _impossible_mail(settings: Any) -> Iterator[str]:
    if bool(settings.EMAIL_HOST_USER) != bool(settings.EMAIL_HOST_PASSWORD):
        yield (
            "Only one of EMAIL_HOST_USER and EMAIL_HOST_PASSWORD is set, so the service would not log in to the "
            "mail server. Set both, or neither."
        )
    if settings.EMAIL_USE_SSL and settings.EMAIL_USE_TLS:
        yield (
            "EMAIL_USE_SSL and EMAIL_USE_TLS are both on. Keep one: EMAIL_USE_SSL=true for a server that speaks "
            "TLS from the first byte (port 465), EMAIL_USE_TLS=true for one that switches to it (STARTTLS, port "
            "587)."
        )
    if settings.EMAIL_PORT == 465 and not settings.EMAIL_USE_SSL:
        yield (
            "EMAIL_PORT is 465, where a mail server speaks TLS from the first byte, and EMAIL_USE_SSL is off. "
            "Set EMAIL_USE_SSL=true and remove EMAIL_USE_TLS, or set the port for STARTTLS, EMAIL_PORT=587."
        )
    if settings.EMAIL_PORT in (25, 587) and settings.EMAIL_USE_SSL:
        yield (
            f"EMAIL_PORT is {settings.EMAIL_PORT}, where a mail server switches to TLS with STARTTLS, and "
            "EMAIL_USE_SSL is on. Remove EMAIL_USE_SSL, or set EMAIL_PORT=465."
        )
