"""What settings may not be together: what is only fit for development, and keys in the wrong place.

Staging and production refuse whatever is published or weak. Development, which has published keys, no second
factor and no secure cookies, refuses whatever is real: so a server whose PERMA_PAYMENTS_ENV was forgotten does not
start.
"""

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone
from nacl.public import PrivateKey

from . import development
from .env import Env

SECRET_LENGTH = 256

# Which CyberSource an environment is for.
CS_MODES = {"development": "sandbox", "staging": "test", "production": "live"}
ADDRESSES = ("PERMA_URL", "PAYMENTS_URL", "CS_SANDBOX_URL")


def refuse_what_does_not_fit(env: Env, settings: Any) -> None:
    """Tell the Env what is wrong with its settings, which are the attributes of ``settings``."""
    if env.in_development:
        _refuse_what_is_real(env, settings)
    else:
        _refuse_what_is_published(env, settings)
        _refuse_what_is_weak(env, settings)
    _refuse_misplaced_keys(env, settings)
    _refuse_mail_that_cannot_work(env, settings)


def _refuse_what_is_real(env: Env, settings: Any) -> None:
    env.refuse_if(
        settings.CS_MODE != "sandbox",
        "PERMA_PAYMENTS_ENV CS_MODE",
        f"CS_MODE is {settings.CS_MODE} in development, which only knows the sandbox. "
        "Set PERMA_PAYMENTS_ENV=staging for CyberSource's test system, or PERMA_PAYMENTS_ENV=production for the "
        "live one.",
    )
    real = [name for name in ("ALLOWED_HOSTS", *ADDRESSES) if not all(map(is_local, _hosts(settings, name)))]
    env.refuse_if(
        bool(real),
        f"PERMA_PAYMENTS_ENV {' '.join(real)}",
        f"A real host is named in {', '.join(real)}, but PERMA_PAYMENTS_ENV is development (its default), which "
        "accepts published keys. On a server, set PERMA_PAYMENTS_ENV=production (or staging). On a developer's "
        "machine, use localhost.",
    )


def _hosts(settings: Any, name: str) -> list[str]:
    value = getattr(settings, name)
    return value if name == "ALLOWED_HOSTS" else [urlsplit(value).hostname or ""]


def is_local(host: str) -> bool:
    """Whether a host is this machine, or what Docker calls it: never one that the world could reach."""
    host = host.strip("[]").lower()
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in development.ALLOWED_HOSTS or host.endswith((".localhost", ".test"))


def _refuse_what_is_published(env: Env, settings: Any) -> None:
    env.refuse_if(
        settings.PERMA_PAYMENTS_SECRET_KEY in development.SECRET_HALVES | development.PUBLIC_HALVES,
        "PERMA_PAYMENTS_SECRET_KEY",
        "PERMA_PAYMENTS_SECRET_KEY is one of development's, which are public. "
        "Make a pair with manage.py generate_keys, set its secret half here, and give Perma.cc the public half.",
    )
    env.refuse_if(
        not _PUBLISHED.isdisjoint(settings.PERMA_PUBLIC_KEYS.values()),
        "PERMA_PUBLIC_KEYS",
        "PERMA_PUBLIC_KEYS holds one of development's keys, whose secret halves are public. "
        "Remove it, and set the public half of Perma.cc's own pair.",
    )
    env.refuse_if(
        settings.ARCHIVE_PUBLIC_KEY[1] in _PUBLISHED,
        "ARCHIVE_PUBLIC_KEY",
        "ARCHIVE_PUBLIC_KEY is one of development's, whose secret halves are public. "
        "Make a pair with manage.py generate_keys --archive away from this server, and set its public half here.",
    )
    env.refuse_if(
        settings.CS_PROFILE_ID == development.CS_PROFILE_ID,
        "CS_PROFILE_ID",
        "CS_PROFILE_ID is the sandbox's, which is public. Set the id of the profile, from the Business Center.",
    )
    env.refuse_if(
        any(settings.CS_KEYS.get(key.access_key) for key in development.CS_KEYS)
        or any(key.secret == known.secret for key in settings.CS_KEYS for known in development.CS_KEYS),
        "CS_KEYS",
        "CS_KEYS holds the sandbox's key, which is public. "
        "Set the security keys of the profile, from the Business Center.",
    )


_PUBLISHED = development.SECRET_HALVES | development.PUBLIC_HALVES


def _refuse_what_is_weak(env: Env, settings: Any) -> None:
    place, mode = env.environment, CS_MODES[env.environment]
    env.refuse_if(settings.DEBUG, "DEBUG", f"DEBUG is on in {place}. Remove DEBUG, or set DEBUG=false.")
    env.refuse_if(
        _is_weak(settings.SECRET_KEY),
        "SECRET_KEY",
        "SECRET_KEY is weak, or development's. "
        "Set SECRET_KEY to the 50 random characters that manage.py generate_keys prints.",
    )
    env.refuse_if(
        settings.CS_MODE != mode,
        "CS_MODE",
        f"CS_MODE is {settings.CS_MODE} in {place}. Set CS_MODE={mode}, or another PERMA_PAYMENTS_ENV: staging is "
        "for CyberSource's test system (test), production for its live one (live).",
    )
    env.refuse_if(
        any(key.created_on is None or key.created_on > timezone.now().date() for key in settings.CS_KEYS),
        "CS_KEYS",
        "A key in CS_KEYS has no creation date, or one in the future. "
        "Write each as access_key:secret_key:YYYY-MM-DD; the Business Center's Key Management shows the date.",
    )
    env.refuse_if(
        any(len(key.secret) != SECRET_LENGTH for key in settings.CS_KEYS),
        "CS_KEYS",
        f"A secret key in CS_KEYS is not {SECRET_LENGTH} characters long. "
        "Copy it again from the Business Center: with part of it, CyberSource refuses every form.",
    )
    for name, example in (("PERMA_URL", "https://perma.cc"), ("PAYMENTS_URL", "https://payments.example.org")):
        env.refuse_if(
            not getattr(settings, name).startswith("https://"),
            name,
            f"{name} does not use https in {place}. Set the address that browsers use, as in {name}={example}",
        )
    env.refuse_if(
        "*" in settings.ALLOWED_HOSTS,
        "ALLOWED_HOSTS",
        "ALLOWED_HOSTS allows any host. List the host names that the service answers to.",
    )
    env.refuse_if(
        settings.MAIL_FROM.lower() == settings.MAIL_REPLY_TO.lower(),
        "MAIL_FROM MAIL_REPLY_TO",
        "MAIL_FROM and MAIL_REPLY_TO are the same: Perma.cc's help desk files mail from its own address badly. "
        "Set MAIL_FROM to an address that is not the help desk's.",
    )
    env.refuse_if(
        settings.ADMIN_ENABLED and not settings.REQUIRE_SECOND_FACTOR,
        "ADMIN_ENABLED REQUIRE_SECOND_FACTOR",
        f"The admin is on in {place}, and a password is enough to log in. "
        "Remove REQUIRE_SECOND_FACTOR, and give each staff account one with manage.py add_second_factor.",
    )


def _is_weak(secret: str) -> bool:
    return (
        secret == development.SECRET_KEY
        or secret.startswith("django-insecure-")
        or len(secret) < 50
        or len(set(secret)) < 10
    )


def _refuse_misplaced_keys(env: Env, settings: Any) -> None:
    # A half is compared with both halves that it could be of: as it is, and as the secret one of a pair.
    ours = {settings.PERMA_PAYMENTS_SECRET_KEY, _public(settings.PERMA_PAYMENTS_SECRET_KEY)}
    ring = set(settings.PERMA_PUBLIC_KEYS.values())
    archive = settings.ARCHIVE_PUBLIC_KEY[1]
    env.refuse_if(
        any(not ours.isdisjoint({key, _public(key)}) for key in ring),
        "PERMA_PAYMENTS_SECRET_KEY PERMA_PUBLIC_KEYS",
        "PERMA_PUBLIC_KEYS holds a key of our own pair, that of PERMA_PAYMENTS_SECRET_KEY. "
        "Set the public half of Perma.cc's pair, which Perma.cc's operators have.",
    )
    env.refuse_if(
        not ours.isdisjoint({archive, _public(archive)}),
        "PERMA_PAYMENTS_SECRET_KEY ARCHIVE_PUBLIC_KEY",
        "ARCHIVE_PUBLIC_KEY is a key of the pair of PERMA_PAYMENTS_SECRET_KEY, so this server could open the "
        "archive. Make another pair with manage.py generate_keys --archive away from this server, and set its "
        "public half.",
    )
    env.refuse_if(
        not ring.isdisjoint({archive, _public(archive)}),
        "PERMA_PUBLIC_KEYS ARCHIVE_PUBLIC_KEY",
        "ARCHIVE_PUBLIC_KEY is a key of Perma.cc's pair, so Perma.cc's servers could open the archive. "
        "Make another pair with manage.py generate_keys --archive away from this server, and set its public half.",
    )


def _public(key: bytes) -> bytes:
    return bytes(PrivateKey(key).public_key)


def _refuse_mail_that_cannot_work(env: Env, settings: Any) -> None:
    env.refuse_if(
        bool(settings.EMAIL_HOST_USER) != bool(settings.EMAIL_HOST_PASSWORD),
        "EMAIL_HOST_USER EMAIL_HOST_PASSWORD",
        "Only one of EMAIL_HOST_USER and EMAIL_HOST_PASSWORD is set, so the service would not log in to the mail "
        "server. Set both, or neither.",
    )
    env.refuse_if(
        settings.EMAIL_USE_SSL and settings.EMAIL_USE_TLS,
        "EMAIL_USE_SSL EMAIL_USE_TLS",
        "EMAIL_USE_SSL and EMAIL_USE_TLS are both on. Keep one: EMAIL_USE_SSL=true for a server that speaks TLS "
        "from the first byte (port 465), EMAIL_USE_TLS=true for one that changes to it (STARTTLS, port 587).",
    )
    env.refuse_if(
        settings.EMAIL_PORT == 465 and not settings.EMAIL_USE_SSL,
        "EMAIL_PORT EMAIL_USE_SSL",
        "EMAIL_PORT is 465, where a mail server speaks TLS from the first byte, and EMAIL_USE_SSL is off. "
        "Set EMAIL_USE_SSL=true and remove EMAIL_USE_TLS, or set the port for STARTTLS, EMAIL_PORT=587.",
    )
    env.refuse_if(
        settings.EMAIL_PORT in (25, 587) and settings.EMAIL_USE_SSL,
        "EMAIL_PORT EMAIL_USE_SSL",
        f"EMAIL_PORT is {settings.EMAIL_PORT}, where a mail server changes to TLS by STARTTLS, and EMAIL_USE_SSL "
        "is on. Remove EMAIL_USE_SSL, or set EMAIL_PORT=465.",
    )
