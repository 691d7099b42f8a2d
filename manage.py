#!/usr/bin/env python
"""Django's command line for Perma Payments."""

import os
import sys

# What must work where nothing is set yet.
WITHOUT_SETTINGS = ("check_keys", "generate_keys", "help", "version")


def uses_settings(arguments: list[str]) -> bool:
    """Whether a command needs settings that are right: help does not, nor making keys and checking them."""
    if not arguments or arguments[0] in (*WITHOUT_SETTINGS, "--help", "-h", "--version"):
        return False
    return arguments[-1] not in ("--help", "-h") or "--" in arguments


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "perma_payments.settings")
    from django.conf import settings
    from django.core.management import execute_from_command_line
    from django.db import DatabaseError, InterfaceError

    from perma_payments.env import DEVELOPMENT_NOTICE, Env
    from perma_payments.postgres.problems import describe

    Env.tolerant = not uses_settings(sys.argv[1:])
    if not Env.tolerant and settings.IN_DEVELOPMENT:
        print(DEVELOPMENT_NOTICE, file=sys.stderr)
    try:
        execute_from_command_line(sys.argv)
    except (DatabaseError, InterfaceError) as error:
        from perma_payments.settings import env

        sys.exit(
            f"The database did not do what it was asked: {describe(error)}.\n"
            + (
                "Check that DATABASE_URL is right, that the server runs, and that manage.py migrate was run."
                if "DATABASE_URL" in env.given
                else "DATABASE_URL is not set. Set it, as in DATABASE_URL=postgres://user:password@localhost/name,"
                " or use the Fabric tasks (fab --list), which start a server of their own."
            )
        )
