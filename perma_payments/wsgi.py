"""The WSGI application. It checks its settings before it answers anything."""
import os

from django.core.checks import run_checks
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "perma_payments.settings")

application = get_wsgi_application()

# manage.py runs the checks by itself; a WSGI server does not.
if _problems := [message for message in run_checks(tags=["perma_payments"]) if message.is_serious()]:
    raise SystemExit("\n".join(f"{problem.msg} {problem.hint}" for problem in _problems))
