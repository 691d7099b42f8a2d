"""Second factors of staff accounts: an authenticator app, and recovery codes for when the phone is lost."""

import base64
from dataclasses import dataclass

from django.contrib.auth.models import AbstractBaseUser, User
from django.db import transaction
from django_otp.models import Device
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

RECOVERY_CODES = 10
TOTP_DIGITS = 6


class AlreadyHasOne(Exception):
    """The account already has a second factor."""


@dataclass(frozen=True)
class SecondFactor:
    """What is shown once, when it is made. ``url`` is an otpauth: URL, ``secret`` the key in it, in base 32."""

    url: str
    secret: str
    recovery_codes: list[str]


@transaction.atomic
def add(user: User, *, replace: bool = False) -> SecondFactor:
    """Make a second factor for a user. With ``replace``, delete all previous ones, or else raise AlreadyHasOne."""
    User.objects.select_for_update().get(pk=user.pk)
    devices = [TOTPDevice.objects.filter(user=user), StaticDevice.objects.filter(user=user)]
    if not replace and any(kind.exists() for kind in devices):
        raise AlreadyHasOne
    for kind in devices:
        kind.delete()
    app = TOTPDevice.objects.create(user=user, name="Authenticator app", confirmed=True)
    recovery = StaticDevice.objects.create(user=user, name="Recovery codes", confirmed=True)
    codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=recovery, token=code) for code in codes)
    return SecondFactor(app.config_url, base64.b32encode(app.bin_key).decode("ascii"), codes)


@transaction.atomic
def device_that_accepts(user: AbstractBaseUser, code: str) -> Device | None:
    """Use up a code and return its device; None if it is wrong, used, or too soon after a wrong one."""
    # Only devices for codes of this form: each counts the codes that it refuses, and waits longer after each.
    kind = TOTPDevice if len(code) == TOTP_DIGITS else StaticDevice
    for device in kind.objects.devices_for_user(user, confirmed=True).select_for_update():
        if device.verify_token(code):
            return device
    return None
