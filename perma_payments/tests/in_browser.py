"""Fixtures for tests in a real browser, with the sandbox as Perma.cc and CyberSource."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from devtools.processes import eventually, leashed, wait_until_it_answers

from .programs import need

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# The sandbox's Perma.cc waits longer than the real one's two seconds, because the machine may be busy.
PATIENT_SANDBOX = """
import runpy
from sandbox.perma import client
client.TIMEOUT_SECONDS = 60
runpy.run_module("sandbox", run_name="__main__")
"""
SECONDS = 30
expect.set_options(timeout=SECONDS * 1000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    path = need("Chromium")
    with pytest.MonkeyPatch.context() as environment, sync_playwright() as playwright:
        # Playwright runs an event loop in this thread, in which Django refuses to use the database
        # although nothing here is concurrent.
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def sandbox(live_server: Any) -> Iterator[str]:
    """The address of a sandbox that talks to the live server."""
    environment = {"SANDBOX_PAYMENTS_URL": live_server.url}
    # On any free port, and without a mailbox: sandboxes of other tests may run at the same time.
    arguments = ("-c", PATIENT_SANDBOX, "--port", "0", "--smtp-port", "0")
    with leashed("The sandbox", *arguments, env=environment) as process:

        def address() -> re.Match[str] | None:
            return re.search(r"http://(127\.0\.0\.1:\d+)/", process.printed())

        assert eventually(lambda: address() or process.has_ended(), 60)
        found = address()
        assert found, process.last_words()
        wait_until_it_answers(process, found[1], "/")
        yield f"http://{found[1]}"


@dataclass
class Visit:
    """A visitor with one tab, and the browser's complaints."""

    page: Page
    sandbox: str
    payments: str
    complaints: list[str]

    @property
    def settings_page(self) -> str:
        """Open Perma.cc's page for the customer in these tests."""
        return f"{self.sandbox}/settings/usage-plan/?customer=Registrar-7"

    def subscribe(self) -> None:
        """Press a button on Perma.cc's settings page."""
        self.page.goto(self.settings_page)
        self.page.get_by_role("button", name="Subscribe: 100 links, monthly").click()

    def heading(self, text: str) -> None:
        """Wait until the tab shows a page with this heading."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text(text)

    def reference(self) -> str:
        """The reference number that CyberSource's page shows."""
        self.heading("Checkout")
        found = re.search(r"PERMA-\d{4}-\d{4}", self.page.inner_text("main"))
        assert found
        return found[0]

    def settles(self, condition: str) -> None:
        """Wait until a JavaScript expression is true, as styles load and scroll bars come and go."""
        assert eventually(lambda: self.page.evaluate(condition), SECONDS), condition

    def is_accessible(self) -> None:
        """Have axe look at the page: it has no violations."""
        # Without its preload, which looks for imported styles beside the page.
        found = Axe().run(self.page, options={"preload": False})
        assert found.violations_count == 0, found.generate_report()

    def fits(self, width: int) -> None:
        """Wait until the page, with all its styles, fits this width."""
        self.settles("document.readyState === 'complete'")
        self.settles(f"innerWidth === {width} && document.documentElement.scrollWidth <= {width}")

    def is_in_order(self) -> None:
        """The page fits a phone and a desk, has no accessibility violations, and the browser does not complain."""
        for width in (390, 1280):
            self.page.set_viewport_size({"width": width, "height": 800})
            self.fits(width)
            self.is_accessible()
        assert self.complaints == []


def post(visit: Visit, fields: dict[str, str], *, route: str = "subscribe") -> None:
    """Post a form to one of our routes, as a page of Perma.cc's does."""
    visit.page.goto(f"{visit.sandbox}/")
    visit.page.evaluate(
        """([action, fields]) => {
            const form = Object.assign(document.createElement("form"), {method: "post", action});
            for (const [name, value] of Object.entries(fields))
                form.append(Object.assign(document.createElement("input"), {name, value}));
            document.body.append(form);
            form.submit();
        }""",
        [f"{visit.payments}/{route}/", fields],
    )


Visitor = Callable[..., Visit]


@pytest.fixture
def visitor(browser: Browser, live_server: Any, sandbox: str, settings: Any) -> Iterator[Visitor]:
    """Make a visitor. Keyword arguments are those of a browser context."""
    # The real policy, except for the address of this sandbox.
    settings.CONTENT_SECURITY_POLICY = {
        "DIRECTIVES": {
            name: [sandbox if source == settings.CS_BASE_URL else source for source in sources]
            for name, sources in settings.CONTENT_SECURITY_POLICY["DIRECTIVES"].items()
        }
    }
    settings.CS_BASE_URL = settings.PERMA_URL = sandbox
    settings.CS_PROFILE = replace(settings.CS_PROFILE, base_url=sandbox)
    settings.PERMA_SUBSCRIPTION_PAGE = f"{sandbox}/settings/subscription/"
    settings.PERMA_RETURN_PAGE = f"{sandbox}/settings/usage-plan/"
    contexts: list[BrowserContext] = []

    def visitor(**options: Any) -> Visit:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(SECONDS * 1000)
        page = context.new_page()
        visit = Visit(page, sandbox, live_server.url, [])

        def complain(message: ConsoleMessage) -> None:
            # Some of the pages are meant to be answered with 4xx.
            of_itself = message.location["url"] == page.url and "responded with a status of 4" in message.text
            if message.type in ("error", "warning") and not of_itself:
                visit.complaints.append(f"{message.location['url']}: {message.text}")

        page.on("console", complain)
        page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        return visit

    yield visitor
    for context in contexts:
        context.close()
