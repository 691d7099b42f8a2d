"""Second factors of staff accounts: an authenticator app, and recovery codes for when the phone is lost.

Staff set up their own by an invitation from a superuser: a link that works once, for a day, and only together with
the account's password. So neither a password that leaked nor a link that went astray is enough to set one up.
"""

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import AbstractBaseUser, User
from django.core.signing import BadSignature, Signer
from django.db import transaction
from django_otp.models import Device
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

RECOVERY_CODES = 10
TOTP_DIGITS = 6
INVITATION_LASTS = timedelta(days=1)


class AlreadyHasOne(Exception):
    """The account already has a second factor."""


@dataclass(frozen=True)
class SecondFactor:
    """What is shown once, when it is made. ``url`` is an otpauth: URL, ``secret`` the key in it, in base 32."""

    url: str
    secret: str
    recovery_codes: list[str]


def has_one(user: User) -> bool:
    """Whether a user has anything that gives codes to log in with."""
    return any(kind.objects.filter(user=user, confirmed=True).exists() for kind in (TOTPDevice, StaticDevice))


@transaction.atomic
def add(user: User, *, replace: bool = False) -> SecondFactor:
    """Make a second factor for a user. With ``replace``, delete all previous ones, or else raise AlreadyHasOne."""
    User.objects.select_for_update().get(pk=user.pk)
    if not replace and has_one(user):
        raise AlreadyHasOne
    app = _replace_app(user, confirmed=True)
    return SecondFactor(app.config_url, secret_of(app), _add_recovery_codes(user))


@transaction.atomic
def invite(user: User, *, now: datetime) -> str:
    """Delete a user's second factors and earlier invitations; return the token of a new invitation."""
    User.objects.select_for_update().get(pk=user.pk)
    app = _replace_app(user, confirmed=False)
    return _signer().sign_object([app.pk, user.pk, (now + INVITATION_LASTS).timestamp()])


def invited(token: str, *, now: datetime) -> TOTPDevice | None:
    """The app that an invitation is about to set up; None if it is used, replaced or too old."""
    try:
        pk, user_pk, ends = _signer().unsign_object(token)
    except BadSignature:
        return None
    if now.timestamp() > ends:
        return None
    apps = TOTPDevice.objects.select_related("user").filter(user__is_active=True, user__is_staff=True)
    return apps.filter(pk=pk, user=user_pk, confirmed=False).first()


@transaction.atomic
def confirm(app: TOTPDevice, code: str) -> list[str] | None:
    """Accept an app by a code of it, and return recovery codes; None if the code is wrong, or comes too soon."""
    locked = TOTPDevice.objects.select_for_update().filter(pk=app.pk, confirmed=False).first()
    if locked is None or not locked.verify_token(code):
        return None
    locked.confirmed = True
    locked.save()
    return _add_recovery_codes(locked.user)


def secret_of(app: TOTPDevice) -> str:
    """An app's key as people type it: in base 32."""
    return base64.b32encode(app.bin_key).decode("ascii")


def grouped(code: str) -> str:
    """A recovery code as people read it."""
    return f"{code[:4]}-{code[4:]}"


def _replace_app(user: User, *, confirmed: bool) -> TOTPDevice:
    """Delete all second factors, which ends the logins made with them, and make an app."""
    for kind in (TOTPDevice, StaticDevice):
        kind.objects.filter(user=user).delete()
    return TOTPDevice.objects.create(user=user, name="Authenticator app", confirmed=confirmed)


def _add_recovery_codes(user: User) -> list[str]:
    recovery = StaticDevice.objects.create(user=user, name="Recovery codes", confirmed=True)
    codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=recovery, token=code) for code in codes)
    return codes


def _signer() -> Signer:
    return Signer(salt="perma_payments.second_factor")


@transaction.atomic
def device_that_accepts(user: AbstractBaseUser, code: str) -> Device | None:
    """Use up a code and return its device; None if it is wrong, used, or too soon after a wrong one."""
    # Only devices for codes of this form: each counts the codes that it refuses, and waits longer after each.
    kind = TOTPDevice if len(code) == TOTP_DIGITS else StaticDevice
    for device in kind.objects.devices_for_user(user, confirmed=True).select_for_update():
        if device.verify_token(code):
            return device
    return None
