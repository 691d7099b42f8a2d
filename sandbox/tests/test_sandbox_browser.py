"""The small browser that the walkthrough uses."""

from __future__ import annotations

from bs4 import BeautifulSoup

from sandbox.browser import Form

PAGE = """
<form method="POST" action="../pay?x=1" accept-charset="UTF-8">
  <input type="hidden" name="a" value="1&amp;2">
  <input name="empty">
  <input type="checkbox" name="off"><input type="checkbox" name="on" checked>
  <input type="radio" name="r" value="1"><input type="radio" name="r" value="2" checked>
  <select name="s"><option value="x">X<option selected>Y</select>
  <textarea name="t">text</textarea>
  <input name="gone" disabled>
  <input value="nameless">
  <button name="b" value="go">Go</button>
  <button hidden>Hidden</button>
  <button type="button">Nothing</button>
  <input type="submit" value="Send">
  <noscript><button>Without script</button></noscript>
</form>
"""


def form():
    """The form on the page."""
    return Form(BeautifulSoup(PAGE, "html.parser").form, "http://host/one/two/")


def test_a_form_sends_what_a_browser_would_send():
    assert form().method == "post"
    assert form().action == "http://host/one/pay?x=1"
    assert form().accept_charset == "UTF-8"
    assert form().fields == {"a": "1&2", "empty": "", "on": "on", "r": "2", "s": "Y", "t": "text"}


def test_its_buttons_are_known_and_whether_they_can_be_seen():
    assert [(button.text, button.is_visible) for button in form().buttons] == [
        ("Go", True),
        ("Hidden", False),
        ("Send", True),
        ("Without script", False),
    ]
    assert (form().buttons[0].name, form().buttons[0].value) == ("b", "go")


def test_all_names_count_those_of_buttons_too():
    assert "b" in form().control_names
    assert form().control_names.count("r") == 2
