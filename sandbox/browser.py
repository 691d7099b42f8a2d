"""A small browser for programs: opens pages, reads their forms and submits them over real HTTP.

It keeps cookies and follows redirects as a browser does. It runs no scripts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

import requests
from bs4 import BeautifulSoup, Tag

TIMEOUT_SECONDS = 20


def attribute(tag: Tag, name: str, default: str = "") -> str:
    """The text of a tag's attribute."""
    value = tag.get(name)
    if isinstance(value, list):
        # Attributes that may have several words, such as accept-charset, come taken apart.
        return " ".join(value)
    return default if value is None else value


@dataclass(frozen=True)
class Button:
    """A button that submits a form; it sends `name` and `value` if it has a name."""

    text: str
    name: str
    value: str
    is_visible: bool


class Form:
    """A form on a page: where it goes, what it sends as it stands, which buttons it has."""

    def __init__(self, tag: Tag, page_url: str) -> None:
        self.tag = tag
        self.method = attribute(tag, "method", "get").lower()
        self.action = urljoin(page_url, attribute(tag, "action"))
        self.accept_charset = attribute(tag, "accept-charset")
        self.buttons = [
            _button(item)
            for item in tag.select('button, input[type="submit"], input[type="image"]')
            if attribute(item, "type", "submit").lower() in ("submit", "image")
        ]

    @property
    def control_names(self) -> list[str]:
        """The names of all its controls, buttons too, each as often as it is there."""
        return [
            attribute(control, "name")
            for control in self.tag.select("input, select, textarea, button")
            if attribute(control, "name")
        ]

    @property
    def fields(self) -> dict[str, str]:
        """What it sends as it stands, without any button."""
        fields: dict[str, str] = {}
        for control in self.tag.select("input, select, textarea"):
            name, kind = attribute(control, "name"), attribute(control, "type").lower()
            if not name or kind in ("submit", "image", "button", "reset", "file") or control.has_attr("disabled"):
                continue
            if control.name == "select":
                option = control.select_one("option[selected]") or control.select_one("option")
                if option is not None:
                    fields[name] = attribute(option, "value", option.get_text())
            elif control.name == "textarea":
                fields[name] = control.get_text()
            elif kind in ("checkbox", "radio"):
                if control.has_attr("checked"):
                    fields[name] = attribute(control, "value", "on")
            else:
                fields[name] = attribute(control, "value")
        return fields


def _button(tag: Tag) -> Button:
    hidden = any(
        parent.has_attr("hidden")
        or parent.name in ("noscript", "template")
        or "display:none" in attribute(parent, "style").replace(" ", "")
        for parent in (tag, *tag.parents)
    )
    return Button(
        tag.get_text(strip=True) or attribute(tag, "value"),
        attribute(tag, "name"),
        attribute(tag, "value"),
        not hidden,
    )


class Page:
    """A page as it was answered.

    `redirects` are the answers that led to it: status and address, in the order they came.
    """

    def __init__(self, response: requests.Response) -> None:
        self.url = response.url
        self.status = response.status_code
        self.redirects = [
            (earlier.status_code, urljoin(earlier.url, earlier.headers.get("Location", "")))
            for earlier in response.history
        ]
        self.headers = response.headers
        self.soup = BeautifulSoup(response.content.decode("utf-8", "replace"), "html.parser")

    @property
    def title(self) -> str:
        """The first heading, else the title, else nothing."""
        heading = self.soup.find("h1") or self.soup.find("title")
        return heading.get_text(" ", strip=True) if heading else ""

    @property
    def text(self) -> str:
        """All the text on the page."""
        return self.soup.get_text(" ", strip=True)

    @property
    def forms(self) -> list[Form]:
        """All its forms."""
        return [Form(tag, self.url) for tag in self.soup.find_all("form")]

    @property
    def links(self) -> list[str]:
        """Where all its links lead, absolute."""
        return [urljoin(self.url, attribute(tag, "href")) for tag in self.soup.select("a[href]")]


class Browser:
    """One visitor. Raises requests.RequestException where nobody answers."""

    def __init__(self) -> None:
        self._session = requests.Session()
        # Proxies named by the environment are not for services on the same machine.
        self._session.trust_env = False

    def open(self, url: str) -> Page:
        """Open an address."""
        return Page(self._session.get(url, timeout=TIMEOUT_SECONDS))

    def submit(self, form: Form, button: Button | None = None, changes: Mapping[str, str] | None = None) -> Page:
        """Submit a form, with some of its fields changed, and a button pressed, if given."""
        fields = {**form.fields, **(changes or {})}
        if button is not None and button.name:
            fields[button.name] = button.value
        if form.method == "post":
            return self.post(form.action, fields)
        return Page(self._session.get(form.action, params=fields, timeout=TIMEOUT_SECONDS))

    def post(self, url: str, fields: dict[str, str] | list[tuple[str, str]]) -> Page:
        """POST fields to an address."""
        return Page(self._session.post(url, data=fields, timeout=TIMEOUT_SECONDS))

    def read_json(self, url: str) -> object:
        """Fetch JSON. Raises requests.RequestException, too, where it is none."""
        response = self._session.get(url, timeout=TIMEOUT_SECONDS)
        response.raise_for_status()
        return response.json()
