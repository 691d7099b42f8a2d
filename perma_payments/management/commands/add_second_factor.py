"""``manage.py add_second_factor``: give a staff account a second factor to log in with."""

import io
from argparse import ArgumentParser
from typing import Any

import segno
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from ...admin.login import second_factors

SHOWN = """This is {user}'s second factor. It will not be shown again. Keep it safe, and do not share it.

Scan this with an authenticator app:

{picture}
or enter this secret in it (time-based, 6 digits, 30 seconds):

  {factor.secret}

or give the app this URL:

  {factor.url}

Recovery codes, in case the phone is lost. Each works once. Do not keep them on the phone:

{codes}
"""


class Command(BaseCommand):
    help = "Add a second factor to a staff account, and show it once: a secret for an app, and ten recovery codes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", help="the username of a staff account")
        parser.add_argument(
            "--replace", action="store_true", help="remove the account's app and recovery codes, and log it out"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(
                f"There is no user {options['username']}. Run manage.py createsuperuser to add one."
            )
        if not (user.is_staff and user.is_active):
            raise CommandError(f"{user} cannot log in to the admin: the account is not active, or not staff.")
        try:
            factor = second_factors.add(user, replace=options["replace"])
        except second_factors.AlreadyHasOne:
            raise CommandError(
                f"{user} already has a second factor. Use --replace to remove it and add another."
            ) from None
        codes = "\n".join(f"  {second_factors.grouped(code)}" for code in factor.recovery_codes)
        picture = io.StringIO()
        segno.make_qr(factor.url).terminal(picture, compact=True)
        self.stdout.write(SHOWN.format(user=user, factor=factor, picture=picture.getvalue(), codes=codes))
