#!/usr/bin/env python
"""Django's command line for Perma Payments."""
import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "perma_payments.settings")
    from django.core.management import execute_from_command_line
    from django.db import DatabaseError, InterfaceError

    try:
        execute_from_command_line(sys.argv)
    except (DatabaseError, InterfaceError) as error:
        sys.exit(
            f"The database did not do what it was asked: {str(error).splitlines()[0]}\n"
            "Check that DATABASE_URL is right, that the server runs, and that manage.py migrate was run; or use "
            "the Fabric tasks (fab --list), which start a server where DATABASE_URL is not set."
        )
