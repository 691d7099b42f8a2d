"""Valid environments for staging and production, and ways to start the service with them."""

import base64
import importlib.util
import os
import string
import subprocess
import sys
from datetime import date
from pathlib import Path
from unittest import mock

from nacl.public import PrivateKey

ROOT = Path(__file__).resolve().parents[2]
SECRET = "0f1e2d3c4b5a69788796a5b4c3d2e1f0" * 8
OUR_PAIR, PERMAS_PAIR, ARCHIVES_PAIR = PrivateKey(b"1" * 32), PrivateKey(b"2" * 32), PrivateKey(b"3" * 32)


def base64_of(key):
    return base64.b64encode(bytes(key)).decode()


def production(**changes):
    """A valid environment for production; ``changes`` replace some variables, ``...`` takes one away."""
    variables = {
        "PERMA_PAYMENTS_ENV": "production",
        "SECRET_KEY": string.ascii_letters[:50],
        "ALLOWED_HOSTS": "payments.example.org,perma-payments",
        "DATABASE_URL": "postgres://perma_payments:password@localhost/perma_payments",
        "PERMA_URL": "https://perma.example",
        "CONTACT_EMAIL": "info@perma.example",
        "PERMA_PAYMENTS_SECRET_KEYS": f"2026-11-21:{base64_of(OUR_PAIR)}",
        "PERMA_PUBLIC_KEYS": f"2026-11:{base64_of(PERMAS_PAIR.public_key)}",
        "CS_MODE": "live",
        "CS_PROFILE_ID": "A1B2C3D4-0000-4000-8000-ABCDEF012345",
        "CS_KEYS": f"00112233445566778899aabbccddeeff:{SECRET}:{date.today()}",
        "ARCHIVE_PUBLIC_KEY": f"2026-11:archive-public:{base64_of(ARCHIVES_PAIR.public_key)}",
        "EMAIL_HOST": "smtp.example.org",
        "MAIL_FROM": "payments@perma.example",
        "MAIL_REPLY_TO": "info@perma.example",
        "STAFF_EMAILS": "staff@perma.example",
        "DEVELOPER_EMAILS": "developers@perma.example",
        "PAYMENTS_URL": "https://payments.example.org",
        "ADMIN_ENABLED": "true",
        "BEHIND_HTTPS_PROXY": "true",
        **changes,
    }
    return {name: value for name, value in variables.items() if value is not ...}


def staging(**changes):
    """A valid environment for staging."""
    return production(**{"PERMA_PAYMENTS_ENV": "staging", "CS_MODE": "test", **changes})


def settings_of(**environment):
    """The module of settings that an environment gives. Raises BadSetting."""
    spec = importlib.util.spec_from_file_location(
        "perma_payments.settings_under_test", ROOT / "perma_payments" / "settings.py"
    )
    settings = importlib.util.module_from_spec(spec)
    with mock.patch.dict(os.environ, {**environment, "PYTHON_DOTENV_DISABLED": "1"}, clear=True):
        spec.loader.exec_module(settings)
    return settings


COMMAND = ["manage.py", "check"]
WSGI = ["-c", "import perma_payments.wsgi"]


# Nothing listens there: wrong settings are reported before the database is needed.
NO_DATABASE = "postgres://perma_payments:password@127.0.0.1:1/perma_payments"


def said(ended):
    """What a process has printed to standard error, except the line that says that there is no database."""
    lines = ended.stderr.splitlines(keepends=True)
    return "".join(line for line in lines if "starting, but the database cannot serve: " not in line)


def start(*arguments, cwd=ROOT, **variables):
    """Run Python in the checkout, with these variables and no others, nor those of a .env file."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "PYTHON_DOTENV_DISABLED": "1", **variables},
    )
