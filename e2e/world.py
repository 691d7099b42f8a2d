"""The running world: its addresses, what the sandbox has recorded there, and the browsers that visit it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, TypeVar
from urllib.parse import urlsplit

import mechanicalsoup
import requests
from bs4 import BeautifulSoup, Tag
from requests.adapters import HTTPAdapter

Found = TypeVar("Found")

REQUEST_SECONDS = 20
WAIT_SECONDS = 15

# Perma.cc's two clients: their years (docs/contracts/perma.md).
CLIENTS = ("2024", "2026")

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class _LimitedTime(HTTPAdapter):
    def send(self, *args: Any, **options: Any) -> requests.Response:
        return super().send(*args, **{**options, "timeout": REQUEST_SECONDS})


def new_session() -> requests.Session:
    """A session that does not wait forever, and asks no proxy."""
    session = requests.Session()
    # A proxy named by the environment is not for servers on this machine.
    session.trust_env = False
    session.mount("http://", _LimitedTime())
    session.mount("https://", _LimitedTime())
    return session


def new_browser() -> mechanicalsoup.Browser:
    """A browser without cookies. It runs no scripts."""
    return mechanicalsoup.Browser(
        session=new_session(), soup_config={"features": "html.parser", "multi_valued_attributes": None}
    )


def soup_of(answer: requests.Response) -> BeautifulSoup:
    """The page that came, which MechanicalSoup adds to a response."""
    soup = answer.soup  # type: ignore[attr-defined]
    assert isinstance(soup, BeautifulSoup), f"{answer.url} answered {answer.status_code} without a page."
    return soup


def find(page: BeautifulSoup | Tag, selector: str) -> Tag:
    """The first tag that matches a CSS selector; there must be one."""
    tag = page.select_one(selector)
    assert tag is not None, f"There is no {selector} on the page: {page.get_text(' ', strip=True)[:500]}"
    return tag


def attribute(tag: Tag, name: str) -> str:
    """The value of an attribute; empty where there is none."""
    return str(tag.get(name, ""))


def press(
    browser: mechanicalsoup.Browser,
    page: requests.Response,
    selector: str,
    button: str | None = None,
    **typed: Any,
) -> requests.Response:
    """Fill in the form that a CSS selector finds on a page, and press a button; the answer.

    `typed` has a value for each control that is changed: text, whether a box is checked, or a file. `button` is a
    CSS selector, too; without it the first one is pressed.
    """
    tag = find(soup_of(page), selector)
    form = mechanicalsoup.Form(tag)
    for name, value in typed.items():
        form.set(name, value)
    form.choose_submit(None if button is None else find(tag, button))
    answer: requests.Response = browser.submit(form, page.url)
    return answer


def eventually(look: Callable[[], Found], seconds: float = WAIT_SECONDS) -> Found:
    """What `look` returns as soon as that is true, or at the end of the time."""
    end = monotonic() + seconds
    while not (found := look()) and monotonic() < end:
        sleep(0.1)
    return found


def is_same_place(url: str, other: str) -> bool:
    """Whether two addresses have the same host and port; all names of this machine are one."""
    places = []
    for parts in (urlsplit(url), urlsplit(other)):
        host = "localhost" if parts.hostname in LOOPBACK else parts.hostname
        places.append((host, parts.port or (443 if parts.scheme == "https" else 80)))
    return places[0] == places[1]


@dataclass
class World:
    """Where Perma Payments and the sandbox are, without a slash at the end, and what the sandbox has recorded.

    `client` is the year of Perma.cc's client, which the sandbox plays.
    """

    payments: str
    sandbox: str
    client: str
    _session: requests.Session = field(default_factory=new_session)
    _traffic: list[dict[str, Any]] = field(default_factory=list)

    def is_played(self) -> bool:
        """Whether the sandbox plays this client."""
        return f"client of {self.client}" in self._session.get(self.sandbox).text

    def traffic(self, kind: str) -> list[dict[str, Any]]:
        """What the sandbox has sent and seen of one kind, oldest first; sandbox/traffic.py lists the kinds."""
        after = self._traffic[-1]["id"] if self._traffic else 0
        self._traffic += self._read_json(f"/traffic.json?after={after}")
        return [entry for entry in self._traffic if entry["kind"] == kind]

    def mails(self, words: str) -> list[dict[str, Any]]:
        """The mails to staff that have these words in their subject or body."""
        mailbox = self._read_json("/mailbox.json")
        assert mailbox["address"] is not None, "The sandbox was started without a port for mail."
        assert mailbox["mode"] == "takes", "The sandbox's mailbox is set to refuse mail."
        return [mail for mail in mailbox["mails"] if words in mail["subject"] or words in mail["body"]]

    def _read_json(self, path: str) -> Any:
        response = self._session.get(self.sandbox + path)
        response.raise_for_status()
        return response.json()
