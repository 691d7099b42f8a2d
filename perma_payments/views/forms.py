"""The fields of a POST, as they were sent: every name, every repetition, in order."""

from urllib.parse import parse_qsl

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, UnreadablePostError

FORM = "application/x-www-form-urlencoded"
MAX_FIELDS = 500


class BadForm(Exception):
    """A POST that is no form. Its text is for our log and holds no payload."""


def posted_fields(request: HttpRequest) -> list[tuple[str, str]]:
    """Return the (name, value) pairs of a POSTed form, percent-decoded as UTF-8.

    Raises BadForm for another content type, more than 500 fields, or a body that broke off.
    """
    if request.content_type != FORM:
        raise BadForm("not a form")
    try:
        body = request.body
    except UnreadablePostError:
        raise BadForm("the body broke off") from None
    except RequestDataTooBig:
        raise BadForm("the body is too long") from None
    try:
        return parse_qsl(
            body.decode("utf-8", "replace"), keep_blank_values=True, errors="replace", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise BadForm("too many fields") from None
