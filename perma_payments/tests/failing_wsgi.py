"""The service with faults: each attempt to subscribe ends in an exception of another type, which quotes it.

And the page for what is not found is broken, so that any path can lead to an error.
"""

from itertools import count
from typing import Any

from perma_payments.wsgi import application  # noqa: F401 (what Gunicorn looks for; it sets Django up)

# isort: split
from perma_payments.services.checkouts import begin
from perma_payments.views import pages

NUMBERS = count(1)


def fail(message: Any, **kwargs: Any) -> None:
    local = f"{message!r}"
    raise type(f"Trouble{next(NUMBERS)}", (Exception,), {})(local)


def fail_again(request: Any, exception: Any) -> None:
    raise ValueError(request.path)


begin.subscribe, pages.not_found = fail, fail_again
