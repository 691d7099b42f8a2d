"""Staff forms that came after the login had ended, or from a page that was out of date: nothing typed is lost.

The fields go back to the browser in the next page, from where they can be sent again. They are neither stored nor
logged. Only forms of our own tables are carried: no passwords, and no files.
"""

from typing import NamedTuple

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.urls import Resolver404, resolve, reverse

# Characters, when signed. Longer ones are not carried: a form may have 256 KiB in all.
MAX_LENGTH = 100_000

# What the buttons say, by the route that they post to.
ACTIONS = {"finish": "Mark as done", "correct": "Preview the correction"}
# Fields that are not shown, because nobody has typed or chosen them.
TECHNICAL = ("seen", "previewed", "revision", "confirm", "edit")


class Unsent(NamedTuple):
    """A form that was posted to ``path``, without its token."""

    path: str
    fields: list[tuple[str, str]]

    @property
    def action(self) -> str:
        """What the person wanted to do, in a few words."""
        try:
            word = (resolve(self.path).url_name or "").rpartition("_")[2]
        except Resolver404:
            word = "send"
        if word == "switch":
            return "Resume checkouts" if dict(self.fields).get("ends") else "Freeze checkouts"
        return ACTIONS.get(word, word.capitalize())

    @property
    def typed(self) -> list[tuple[str, str]]:
        """What the person can recognize: labels and values."""
        return [
            (name.replace("_", " ").capitalize(), value)
            for name, value in self.fields
            if value and name not in TECHNICAL
        ]


def unsent_of(request: HttpRequest) -> Unsent | None:
    """The form that a request posts to one of our tables; None if it is another one, or has files."""
    if request.method != "POST" or not settings.ADMIN_ENABLED or request.FILES:
        return None
    if not request.path.startswith(reverse("admin:app_list", args=["perma_payments"])):
        return None
    fields = [(name, value) for name, values in request.POST.lists() for value in values]
    return Unsent(request.path, [field for field in fields if field[0] != "csrfmiddlewaretoken"])


def sign(unsent: Unsent, request: HttpRequest) -> str | None:
    """The form as text that only the same browser can bring back; None if it is too long."""
    text = _signer(request).sign_object(list(unsent), compress=True)
    return text if len(text) <= MAX_LENGTH else None


def read(text: str, request: HttpRequest) -> Unsent | None:
    """Read a text made by ``sign``; None if it was made for another browser, or not by us."""
    try:
        path, fields = _signer(request).unsign_object(text)
    except (BadSignature, UnicodeEncodeError):
        return None
    return Unsent(path, [(name, value) for name, value in fields])


def _signer(request: HttpRequest) -> Signer:
    """Bound to the browser's CSRF cookie, so nobody can slip a form to somebody else."""
    get_token(request)  # so that the cookie is sent, if it is new
    return Signer(salt=f"{__name__}.{request.META['CSRF_COOKIE']}")
