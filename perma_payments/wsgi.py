"""The WSGI application. It checks its settings before it answers anything."""
import os
from typing import Any

import django
from django.core.checks import run_checks
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "perma_payments.settings")
django.setup(set_prefix=False)


class Request(WSGIRequest):
    """A request whose Content-Type may be anything: Django reads it where no error of it is caught."""

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]
        except (LookupError, ValueError):
            # An unknown or impossible encoding. No route takes a body of no type.
            self.content_type, self.content_params = "", {}


class Application(WSGIHandler):
    """Django's, with our request."""

    request_class = Request


application = Application()

# manage.py runs the checks by itself; a WSGI server does not.
if _problems := [message for message in run_checks(tags=["perma_payments"]) if message.is_serious()]:
    raise SystemExit("\n".join(f"{problem.msg} {problem.hint}" for problem in _problems))
