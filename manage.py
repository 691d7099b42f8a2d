#!/usr/bin/env python
"""Django's command line for Perma Payments."""

import os
import sys

# These must work before anything is set, or on the offline machine.
WITHOUT_SETTINGS = ("check_keys", "generate_keys", "reseal", "help", "version", "--help", "-h", "--version")


def uses_settings(arguments: list[str]) -> bool:
    """Return whether a command needs valid settings: help does not, nor does what is done offline."""
    if not arguments or arguments[0] in WITHOUT_SETTINGS:
        return False
    if arguments[0] == "open_response" and any(each.split("=")[0] == "--file" for each in arguments):
        return False
    return arguments[-1] not in ("--help", "-h") or "--" in arguments


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "perma_payments.settings")
    from django.conf import settings
    from django.core.management import execute_from_command_line
    from django.db import DatabaseError, InterfaceError

    from perma_payments import development
    from perma_payments.env import Env
    from perma_payments.postgres.problems import describe

    Env.tolerant = not uses_settings(sys.argv[1:])
    if not Env.tolerant and settings.IN_DEVELOPMENT:
        print(development.NOTICE, file=sys.stderr)
    try:
        execute_from_command_line(sys.argv)
    except BrokenPipeError:
        # What reads the output, such as head, has seen enough. Python would complain at its end of what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (DatabaseError, InterfaceError) as error:
        from perma_payments.settings import env

        if "DATABASE_URL" in env.given:
            advice = "Check that DATABASE_URL is right, that the server runs, and that manage.py migrate was run."
        else:
            advice = (
                "DATABASE_URL is not set. Set it, as in DATABASE_URL=postgres://user:password@localhost/name, "
                "or use the Fabric tasks (fab --list), which start a server of their own."
            )
        sys.exit(f"The database did not do what it was asked: {describe(error)}.\n{advice}")
