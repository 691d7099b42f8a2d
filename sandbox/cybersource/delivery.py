"""POST a signed response to the merchant, server to server (cybersource.md §5).

`application/x-www-form-urlencoded` in UTF-8, 10 seconds, redirects not followed, no second try.
"""

from __future__ import annotations

import http.client
from dataclasses import dataclass

import requests
import urllib3

TIMEOUT_SECONDS = 10
BODY_CHARACTERS = 200


@dataclass(frozen=True)
class Answer:
    """What the merchant answered: HTTP status and the first 200 characters of the body.

    Where no answer came, `status` is None and `problem` says why.
    """

    status: int | None
    body: str
    problem: str | None

    @property
    def is_success(self) -> bool:
        """Whether the merchant took the response: any status from 200 to 299."""
        return self.status is not None and 200 <= self.status < 300


def deliver(url: str, fields: list[tuple[str, str]]) -> Answer:
    """POST `fields` to `url` once. Never raises for what the other side does."""
    try:
        with requests.Session() as session:
            # Proxies named by the environment are not for a service on the same machine.
            session.trust_env = False
            response = session.post(url, data=fields, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True)
            start = next(response.iter_content(4 * BODY_CHARACTERS), b"")
    except requests.Timeout:
        return Answer(None, "", f"no answer within {TIMEOUT_SECONDS} seconds")
    except (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError) as error:
        return Answer(None, "", f"it could not be reached ({type(error).__name__})")
    return Answer(response.status_code, start.decode("utf-8", "replace")[:BODY_CHARACTERS], None)
