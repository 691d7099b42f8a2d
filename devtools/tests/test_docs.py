"""What the documentation points to exists: files, headings, and the tests that docs/asvs.md names."""

import re
import subprocess
from pathlib import Path

import pytest

from devtools import ROOT

PAGES = subprocess.run(
    ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.splitlines()
LINK = re.compile(r"\]\(([^)\s]+)\)")


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


@pytest.mark.parametrize("link", ["no-such-file.md", "docs/staff.md#no-such-heading", "#no-such-heading"])
def test_a_broken_link_is_noticed(link: str) -> None:
    assert is_broken(link, ROOT / "README.md")
    assert not is_broken(link.partition("#")[0].replace("no-such-file", "README"), ROOT / "README.md")


def test_the_tests_that_show_how_a_requirement_is_met_exist() -> None:
    named = set(re.findall(r"`((?:[\w/]+/)?test_\w+\.py)`", (ROOT / "docs/asvs.md").read_text()))
    assert named

    places = (ROOT / "perma_payments/tests", ROOT)
    assert sorted(path for path in named if not any((place / path).exists() for place in places)) == []
