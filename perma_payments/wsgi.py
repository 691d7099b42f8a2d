"""The WSGI application. It checks its settings before it answers anything."""

import logging
import os
import sys
from typing import NoReturn

import django
from django.conf import settings
from django.core.checks import run_checks
from django.db import Error

from .env import DEVELOPMENT_NOTICE, BadSetting
from .postgres import schema
from .postgres.problems import describe
from .views.wsgi_request import Application

# Gunicorn starts a worker that fails with any other code again and again.
WORKER_BOOT_ERROR = 3


def refuse_to_start(reason: str) -> NoReturn:
    """End the process with a sentence, instead of a stack trace."""
    print(reason, file=sys.stderr, flush=True)
    raise SystemExit(WORKER_BOOT_ERROR)


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "perma_payments.settings")
try:
    django.setup(set_prefix=False)
except BadSetting as problem:
    refuse_to_start(str(problem))


application = Application()

# manage.py runs the checks by itself; a WSGI server does not.
_messages = run_checks(tags=["perma_payments"])
if _problems := [message for message in _messages if message.is_serious()]:
    refuse_to_start("\n".join(f"{problem.msg} {problem.hint}" for problem in _problems))
for _warning in _messages:
    logging.getLogger(__name__).warning("%s %s", _warning.msg, _warning.hint)
if settings.IN_DEVELOPMENT:
    print(DEVELOPMENT_NOTICE, file=sys.stderr, flush=True)

try:
    if _behind := schema.behind():
        refuse_to_start(_behind)
except Error as error:
    # It may be back in a moment; until then every request is answered with 503.
    logging.getLogger(__name__).error("starting, but the database cannot serve: %s", describe(error))
