"""Where a notice such as "Checkouts are frozen." waits for the next page."""

from typing import Any

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.storage.session import SessionStorage


class _CookieOfThisHost(CookieStorage):
    """Django's cookie, with a name that browsers accept only from this very host, as the others have."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.cookie_name = settings.SESSION_COOKIE_NAME.replace("sessionid", "messages")
        super().__init__(*args, **kwargs)


class Notices(FallbackStorage):
    """In a signed cookie, or in the session if they are long."""

    storage_classes = (_CookieOfThisHost, SessionStorage)
