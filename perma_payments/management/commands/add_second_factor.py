"""``manage.py add_second_factor``: what a staff member needs, besides a password, to log in."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from ...admin.login import second_factors


class Command(BaseCommand):
    help = (
        "Make what a staff member needs to log in besides the password: a secret for an authenticator app, and "
        "ten recovery codes. They are shown once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", help="the user name of a staff account")
        parser.add_argument(
            "--replace",
            action="store_true",
            help="end the account's app and recovery codes, and whatever they are logged in to, and make new ones",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(
                f"There is no user {options['username']}. manage.py createsuperuser makes the first."
            )
        if not (user.is_staff and user.is_active):
            raise CommandError(f"{user} may not log in to the admin: the account is not active, or not staff.")
        try:
            factor = second_factors.add(user, replace=options["replace"])
        except second_factors.AlreadyHasOne:
            raise CommandError(
                f"{user} has a second factor. With --replace it is ended, and a new one is made."
            ) from None
        self.stdout.write(_told(user.get_username(), factor))


def _told(name: str, factor: second_factors.SecondFactor) -> str:
    codes = "\n".join(f"  {code[:4]}-{code[4:]}" for code in factor.recovery_codes)
    return f"""The second factor of {name}. It is shown only now: keep it safe, and give it to nobody else.

Type this secret into an authenticator app (time-based, 6 digits, 30 seconds):

  {factor.secret}

or give the app this URL:

  {factor.url}

Recovery codes, for when the phone is not at hand. Each works once. Keep them where the phone is not:

{codes}
"""
