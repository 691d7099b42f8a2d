"""Read our pages as a browser would."""

from bs4 import BeautifulSoup
from django.http import HttpResponse


def soup(response: HttpResponse) -> BeautifulSoup:
    """The elements of a page."""
    return BeautifulSoup(response.content, "html.parser")


def heading(response: HttpResponse) -> str:
    """The one h1 of a page."""
    (h1,) = soup(response).find_all("h1")
    return h1.get_text(strip=True)


def words(response: HttpResponse) -> str:
    """The text of a page, with single spaces."""
    return " ".join(soup(response).get_text(" ").split())


def checkout_form(response: HttpResponse) -> dict[str, str]:
    """The fields that a checkout page's only form would post."""
    (form,) = soup(response).find_all("form")
    return {field["name"]: field["value"] for field in form.find_all(attrs={"name": True})}


def checkout_action(response: HttpResponse) -> str:
    """The address that a checkout page's only form posts to."""
    (form,) = soup(response).find_all("form")
    return form["action"]
