"""The help inside the admin: docs/staff.md, as a page."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from django.conf import settings

from perma_payments.admin import help as staff_help

from ..accounts import log_in
from ..pages import heading, words

pytestmark = pytest.mark.django_db


def test_all_of_the_help_is_on_its_page(client):
    log_in(client)
    page = client.get("/admin/help/")
    written = (settings.BASE_DIR / "docs/staff.md").read_text()

    assert heading(page) == "For staff"
    said = words(page)
    plain_lines = re.findall(r"^[A-Za-z][^*|`\n]+$", written, re.MULTILINE)
    assert [line for line in plain_lines if line not in said] == []
    soup = BeautifulSoup(page.content, "html.parser")
    assert len(soup.select(".guide h2")) == written.count("\n## ") > 0
    assert len(soup.select(".guide tr")) == written.count("\n| ") > 0


def test_every_section_is_linked(client):
    log_in(client)
    soup = BeautifulSoup(client.get("/admin/help/").content, "html.parser")

    links = [(link["href"], link.get_text()) for link in soup.select(".guide nav a")]
    assert links == [(f"#{section['id']}", section.get_text()) for section in soup.select(".guide h2")]


def test_its_pictures_are_shown(client):
    log_in(client)
    pictures = BeautifulSoup(client.get("/admin/help/").content, "html.parser").select(".guide img")

    assert len(pictures) == len(list((settings.BASE_DIR / "docs/pictures").iterdir())) > 0
    for picture in pictures:
        assert picture["alt"]
        assert b"".join(client.get(picture["src"])).startswith(b"\x89PNG")


def test_html_in_the_help_is_only_text(client, monkeypatch, tmp_path: Path):
    file = tmp_path / "help.md"
    file.write_text("# Help\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1))\n")
    monkeypatch.setattr(staff_help, "FILE", file)
    log_in(client)
    page = client.get("/admin/help/").content.decode()

    assert "<script>alert" not in page and 'href="javascript' not in page


def test_every_staff_page_links_to_the_help(client):
    log_in(client)

    assert b'href="/admin/help/"' in client.get("/admin/").content


def test_the_help_takes_a_login(client):
    assert client.get("/admin/help/").status_code == 302
