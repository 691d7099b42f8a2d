"""The admin's login form: a password, a code where one is required, and a limit on attempts."""

import logging
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.models import AbstractBaseUser, User
from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import ValidationError
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from ...addresses import address_of
from ...logs import refusal
from ...models import LoginAttempt
from . import attempts as login_attempts, second_factors

logger = logging.getLogger(__name__)

WRONG = "That username and password don't match a staff account. Passwords are case-sensitive."
# It does not say which of them is wrong: a guesser would learn that the password is right.
WRONG_WITH_CODE = (
    "That username, password and code don't match a staff account. Passwords are case-sensitive. Each code works "
    "only once, so you may have to wait for the next one."
)


class CodeInput(forms.TextInput):
    """Never redisplays a code: each works only once."""

    def format_value(self, value: Any) -> None:
        return


class CodeField(forms.CharField):
    """A code, as it is stored: people type it in groups, and phones capitalize it."""

    def __init__(self, **kwargs: Any) -> None:
        attributes = {"autocomplete": "one-time-code", "autocapitalize": "none", "spellcheck": "false"}
        super().__init__(max_length=30, widget=CodeInput(attrs=attributes), **kwargs)

    def clean(self, value: Any) -> str:
        code: str = super().clean(value)
        return code.replace(" ", "").replace("-", "").lower()


class LoginForm(AdminAuthenticationForm):
    """Username, password and, where a second factor is required, a code."""

    code = CodeField(
        help_text="From your authenticator app, or one of your recovery codes. Each code works only once."
    )

    def __init__(self, request: HttpRequest | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        if not self.asks_for_code:
            del self.fields["code"]
        wrong = WRONG_WITH_CODE if self.asks_for_code else WRONG
        self.error_messages = {**self.error_messages, "invalid_login": wrong}
        if self.data.get("username"):
            # Only the username is redisplayed, so the next thing to type is the password.
            self.fields["username"].widget.attrs.pop("autofocus", None)
            self.fields["password"].widget.attrs["autofocus"] = True

    @property
    def asks_for_code(self) -> bool:
        return bool(settings.REQUIRE_SECOND_FACTOR)

    def clean(self) -> dict[str, Any]:
        """Check the password only if everything is filled in and there were not too many attempts."""
        if self.errors:
            return self.cleaned_data
        attempt = begin_attempt(self.request, self.cleaned_data["username"])
        try:
            cleaned = super().clean()
            if self.asks_for_code:
                self._check_code(self.get_user())
        except ValidationError:
            # The name that was typed could be a password.
            user = User.objects.filter(username=self.cleaned_data["username"]).first()
            logger.warning("login failed: %s", f"user {user.pk}" if user else "no such user")
            raise
        attempt.delete()
        return cleaned

    def _check_code(self, user: AbstractBaseUser) -> None:
        device = second_factors.device_that_accepts(user, self.cleaned_data["code"])
        if device is None:
            raise self.get_invalid_login_error()
        # Where django-otp looks for it when the user is logged in.
        user.otp_device = device  # type: ignore[attr-defined]


class PasswordForm(LoginForm):
    """The same without a code, for someone who is invited to set up a second factor."""

    asks_for_code = False

    def __init__(self, request: HttpRequest, invited: AbstractBaseUser, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        self.invited = invited

    def confirm_login_allowed(self, user: AbstractBaseUser) -> None:
        """Nobody else's password will do."""
        super().confirm_login_allowed(user)  # type: ignore[arg-type]
        if user != self.invited:
            raise self.get_invalid_login_error()


def begin_attempt(request: HttpRequest | None, account: str) -> LoginAttempt:
    """Count an attempt. Raises ValidationError if there were too many."""
    address = address_of(request)
    if address is None:
        logger.warning(
            "a login came from an unknown address: X-Forwarded-For lacks what the proxies should have added "
            "(TRUSTED_PROXIES is %s)",
            settings.TRUSTED_PROXIES,
            extra=refusal("login"),
        )
    try:
        return login_attempts.begin(account=account, address=address, now=timezone.now())
    except login_attempts.TooManyAttempts:
        logger.warning("login refused: too many attempts")
        raise ValidationError(
            "Too many attempts. Please wait 15 minutes, then try again.", code="too_many_attempts"
        ) from None


@receiver(user_logged_in)
def log_login(sender: Any, user: User, **kwargs: Any) -> None:
    device = getattr(user, "otp_device", None)
    factor = f" and {device._meta.model_name}" if device else ""
    logger.info("user %s logged in with a password%s", user.pk, factor)


@receiver(user_logged_in)
def fix_end_of_session(sender: Any, request: HttpRequest, **kwargs: Any) -> None:
    """End the session a day after the login. Django's own cookie age would start over with each change."""
    request.session.set_expiry(timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE))
