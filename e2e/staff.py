"""Staff, between the Business Center and the admin."""

import io

import requests

from .world import World, find, new_browser, press, soup_of


class Staff:
    """A member of staff, logged in to the admin of Perma Payments; the Business Center needs no login here."""

    def __init__(self, world: World, name: str, password: str) -> None:
        self.world = world
        self.browser = new_browser()
        login = self.browser.get(f"{world.payments}/admin/login/?next=/admin/")
        answer = press(self.browser, login, "#login-form", username=name, password=password)
        assert answer.history and not soup_of(answer).select("#login-form"), f"{name} could not log in."

    def set_status(self, reference_number: str, status: str) -> None:
        """Give a subscription another status in the Business Center, such as CANCELED."""
        page = self.browser.get(f"{self.world.sandbox}/subscriptions/")
        (card,) = [
            item for item in soup_of(page).select("#subscriptions > li") if reference_number in item.get_text()
        ]
        selector = f'#subscriptions > li[data-token="{card["data-token"]}"] form'
        press(self.browser, page, selector, status=status)

    def upload_report(self) -> requests.Response:
        """Download the list of subscriptions from the Business Center and upload it; the page with the plan."""
        export = self.browser.get(f"{self.world.sandbox}/subscriptions/export.csv")
        report = io.BytesIO(export.content)
        report.name = "subscriptions.csv"
        page = self.browser.get(f"{self.world.payments}/admin/perma_payments/statusreport/upload/")
        return press(self.browser, page, "form:has([type=file])", report=report)

    def act(self, report: requests.Response) -> requests.Response:
        """Do what the page of a report offers first, to confirm it or to take it back, with all its checks."""
        form = find(soup_of(report), "#content-main form")
        boxes = form.select("input[type=checkbox][required]")
        typed = form.select("input[pattern][required]")
        return press(
            self.browser,
            report,
            "#content-main form",
            None,
            **{str(box["name"]): [str(each["value"]) for each in boxes] for box in boxes},
            **{str(field["name"]): str(field["pattern"]).split("|")[0] for field in typed},
        )
