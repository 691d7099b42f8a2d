"""What has to be true of the pages that Perma Payments shows to customers."""

from urllib.parse import urljoin

import requests

from .customer import Checkout
from .world import attribute, find, is_same_place, soup_of


def expect_plain_page(page: requests.Response, status: int) -> None:
    """Expect a page that starts nothing: it says something, leads back to Perma.cc, and names a contact."""
    soup = soup_of(page)
    assert page.status_code == status
    assert find(soup, "h1").get_text(strip=True)
    assert not soup.select('[name="signature"]')
    find(soup, 'a[href*="/settings/usage-plan/"]')
    assert "@" in soup.get_text() or soup.select('a[href^="mailto:"]')


def expect_checkout_page(checkout: Checkout) -> None:
    """Expect the page with a signed form: the signed fields alone, not cached, with a button to press."""
    page, form, soup = checkout.page, checkout.form, soup_of(checkout.page)
    names = [attribute(control, "name") for control in form.select("[name]")]
    assert sorted(names) == sorted([*checkout.fields["signed_field_names"].split(","), "signature"])
    assert checkout.fields["unsigned_field_names"] == ""
    assert "no-store" in page.headers["Cache-Control"]
    assert attribute(form, "accept-charset").upper() == "UTF-8"
    button = find(form, "button")
    assert not any(
        tag.has_attr("hidden") or tag.name in ("noscript", "template") for tag in (button, *button.parents)
    )
    scripts = [attribute(script, "src") for script in soup.select("script")]
    assert scripts and all(scripts), "A script stands in the page itself."
    for script in scripts:
        url = urljoin(page.url, script)
        assert is_same_place(url, page.url)
        assert checkout.customer.browser.get(url).status_code == 200
