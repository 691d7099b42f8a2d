"""The WSGI application. With wrong settings or missing migrations, it says so and does not start."""

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

import django
from django.conf import settings
from django.core.checks import run_checks
from django.db import Error

from . import development, error_mails, metrics
from .env import BadSetting
from .postgres import schema
from .postgres.problems import describe
from .views.wsgi_request import Application

# With any other exit code, Gunicorn would start the worker again and again.
WORKER_BOOT_ERROR = 3

logger = logging.getLogger(__name__)


def refuse_to_start(reason: str) -> NoReturn:
    print(reason, file=sys.stderr, flush=True)
    raise SystemExit(WORKER_BOOT_ERROR)


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "perma_payments.settings")
try:
    django.setup(set_prefix=False)
except BadSetting as error:
    refuse_to_start(str(error))

if settings.METRICS_TOKEN:
    try:
        metrics.start(Path(settings.METRICS_DIR))
    except OSError as error:
        refuse_to_start(
            f"METRICS_DIR: the web server cannot write there ({os.strerror(error.errno or 0)}). "
            "Create the directory, and give it to the account that the web server runs as."
        )

application = Application()
error_mails.start()

# manage.py runs the checks by itself; a WSGI server does not.
for _message in run_checks(tags=["perma_payments"]):
    logger.log(_message.level, "%s %s", _message.msg, _message.hint)
if settings.IN_DEVELOPMENT:
    print(development.NOTICE, file=sys.stderr, flush=True)

try:
    if _behind := schema.behind():
        refuse_to_start(_behind)
except Error as error:
    # It may be back in a moment. Until then, every request is answered with 503.
    logger.error("starting, but the database cannot serve: %s", describe(error))
