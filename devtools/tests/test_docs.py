"""What the documentation names exists: files, headings, commands, versions, and the tests in docs/asvs.md."""

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

import fabfile
from devtools import ROOT
from perma_payments import __version__

PAGES = subprocess.run(
    ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.splitlines()
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?\n(.*?)^```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
# The arguments of a command, up to the end of the line, another command, or a comment.
CALL = re.compile(r"\b(manage\.py|fab|python -m|gunicorn) +([\w.]+)([^\n|;&#]*)")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    texts = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in texts}


def is_broken(link: str, page: Path) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return not target.exists() or bool(anchor and target.suffix == ".md" and anchor not in anchors(target))


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    page = ROOT / name
    links = [link for link in LINK.findall(page.read_text()) if not re.match(r"https?:|mailto:", link)]

    assert [link for link in links if is_broken(link, page)] == []


def calls(text: str) -> set[tuple[str, str, str]]:
    """Return the commands in a page's code: what runs them, their names, and their arguments."""
    return {call for code in CODE.findall(text) for call in CALL.findall("".join(code))}


def does_not_exist(runner: str, name: str, arguments: str) -> bool:
    options = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", arguments))
    if runner == "fab":
        body = getattr(getattr(fabfile, name, None), "body", None)
        return body is None or not {option[2:] for option in options} <= set(
            getattr(body, "__wrapped__", body).__annotations__
        )
    if runner == "manage.py":
        commands = get_commands()
        if name not in commands:
            return True
        parser = load_command_class(commands[name], name).create_parser("manage.py", name)
        return not options <= set(parser._option_string_actions)
    return find_spec(name) is None


@pytest.mark.parametrize("name", PAGES)
def test_every_command_and_its_options_exist(name: str) -> None:
    found = calls((ROOT / name).read_text())

    assert sorted(call for call in found if does_not_exist(*call)) == []


@pytest.mark.parametrize(
    "line",
    [
        "`fab no_such_task`",
        "`fab demo --no-such-option`",
        "```\npython manage.py no_such_command\n```",
        "```\n.venv/bin/python manage.py migrate --no-such-option\n```",
        "`python -m no_such_module`",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(line: str) -> None:
    (call,) = calls(line)

    assert does_not_exist(*call)


def test_the_version_has_its_section_in_the_changelog() -> None:
    sections = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    released = [section for section in sections if section != "Unreleased"]
    assert re.fullmatch(re.escape(__version__) + r" \(\d{4}-\d\d-\d\d\)", released[0])
    assert sections[0] in ("Unreleased", released[0])


@pytest.mark.parametrize("link", ["no-such-file.md", "docs/staff.md#no-such-heading", "#no-such-heading"])
def test_a_broken_link_is_noticed(link: str) -> None:
    assert is_broken(link, ROOT / "README.md")
    assert not is_broken(link.partition("#")[0].replace("no-such-file", "README"), ROOT / "README.md")


def test_the_tests_that_show_how_a_requirement_is_met_exist() -> None:
    named = set(re.findall(r"`((?:[\w/]+/)?test_\w+\.py)`", (ROOT / "docs/asvs.md").read_text()))
    assert named

    places = (ROOT / "perma_payments/tests", ROOT)
    assert sorted(path for path in named if not any((place / path).exists() for place in places)) == []
