"""Forms on the sandbox's pages, as a browser would send them."""

from copy import copy

import mechanicalsoup

ORIGIN = "http://localhost"


class Form:
    """Where a form goes, and the fields that it sends as it stands, without any button."""

    def __init__(self, tag):
        form = mechanicalsoup.Form(copy(tag))
        form.choose_submit(False)
        sent = mechanicalsoup.Browser.get_request_kwargs(form.form, f"{ORIGIN}/")
        self.method = sent["method"]
        self.action = sent["url"]
        self.fields = dict(sent["data"])

    @property
    def path(self):
        """Where a form of the sandbox's own goes."""
        return self.action.removeprefix(ORIGIN)
