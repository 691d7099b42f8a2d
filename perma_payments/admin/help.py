"""The help for staff: docs/staff.md as a page of the admin, with a list of its sections."""

from itertools import pairwise
from pathlib import PurePosixPath
from typing import NamedTuple

from django.conf import settings
from django.templatetags.static import static
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify
from markdown_it import MarkdownIt

FILE = settings.BASE_DIR / "docs" / "staff.md"

# HTML in the file would be shown as text.
_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")


class Help(NamedTuple):
    title: str
    # The id and the heading of each.
    sections: list[tuple[str, str]]
    body: SafeString


def staff_help() -> Help:
    """Read the help. Its first line is the title, and each heading of the second level begins a section."""
    first, _, text = FILE.read_text(encoding="utf-8").partition("\n")
    sections = []
    tokens = _markdown.parse(text)
    for token, inside in pairwise(tokens):
        if token.type == "heading_open" and token.tag == "h2":
            anchor = slugify(inside.content)
            token.attrSet("id", anchor)
            sections.append((anchor, inside.content))
        for part in inside.children or ():
            if part.type == "image":
                picture = PurePosixPath(str(part.attrs["src"])).name
                part.attrSet("src", static(f"staff-help/{picture}"))
    body = _markdown.renderer.render(tokens, _markdown.options, {})
    return Help(first.lstrip("# "), sections, mark_safe(body))
