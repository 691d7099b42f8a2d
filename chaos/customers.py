"""Customers, who subscribe, buy, change and cancel, with Perma.cc and CyberSource around them.

The seed determines what each of them plans; how far they get depends on the faults. Like people, they press a
button again if nothing came, go on only once Perma.cc's page shows what they have paid for, and sometimes leave.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from bs4 import BeautifulSoup

from sandbox.config import Config
from sandbox.cybersource.cards import TEST_CARDS
from sandbox.cybersource.delivery import deliver
from sandbox.cybersource.form import UPDATES, AcceptedForm, check_form
from sandbox.cybersource.outcomes import ACCEPT, CANCEL, DECLINE, PICKABLE, CheckoutOutcome
from sandbox.cybersource.response import Entered, build_response, carried_by_browser
from sandbox.perma.box import PermaBox
from sandbox.perma.client import PaymentsClient, Unavailable
from sandbox.perma.clients import DEFAULT_CLIENT
from sandbox.perma.messages import change_message, change_to, customer_message, purchase_message, subscribe_message
from sandbox.perma.replies import Purchase, StatusReply
from sandbox.perma.store import INDIVIDUAL, PACKAGES, REGISTRAR, Customer, Plan, plans_for
from sandbox.traffic import TrafficLog

from .record import CHANGE, PURCHASE, SUBSCRIBE, UPDATE, Cancellation, Checkout, Record, SentResponse
from .world import SECRETS, World

REVIEW, ERROR = PICKABLE["review-480"], PICKABLE["error-150"]
CARDS = list(TEST_CARDS.values())

# What a browser waits for. The service's own limits end every request sooner.
BROWSER_SECONDS = 30
PRESSES = 5  # how often a customer presses a button to which no page came
LOOKS = 8  # how often a customer looks whether Perma.cc's page shows what was paid for


class Left(Exception):
    """The customer gave up: nothing came, or what came did not help."""


class Town:
    """What all customers share: the way to the service, CyberSource, and Perma.cc's servers."""

    def __init__(self, world: World, record: Record, seed: int) -> None:
        self.world = world
        self.record = record
        self.seed = seed
        self.config = Config(cs_keys=SECRETS)
        self.box = PermaBox(secret_key=self.config.perma_secret_key, public_key=self.config.payments_public_key)
        self.couriers = ThreadPoolExecutor(64)  # deliveries that come late, or at once

    def perma(self, rng: random.Random) -> PaymentsClient:
        """Perma.cc's servers, at one of the web servers."""
        return PaymentsClient(
            payments_url=self.world.url(rng),
            perma_client=DEFAULT_CLIENT,
            box=self.box,
            traffic=TrafficLog(limit=1),
            clock=now,
        )

    def bring_by_server(self, response: SentResponse, rng: random.Random) -> bool:
        """Let CyberSource's server deliver a response once; return whether it was answered with 200."""
        answer = deliver(f"{self.world.url(rng)}/cybersource-callback/", response.by_server)
        self.record.count("deliveries")
        self.record.note_answer("/cybersource-callback/", answer.status)
        if answer.status == 200:
            response.promised = True
        return answer.status == 200

    def bring_by_browser(self, response: SentResponse, rng: random.Random) -> None:
        """Let the customer's browser carry a response once. It is led on to Perma.cc, perhaps with a message."""
        self.record.count("deliveries")
        answer = fetch(requests.Session(), "POST", f"{self.world.url(rng)}/return/", response.by_browser)
        self.record.note_answer("/return/", status_of(answer))
        if answer is not None and "=" in urlsplit(answer.headers.get("Location", "")).query:
            response.promised = True


def now() -> datetime:
    return datetime.now(UTC)


def fetch(session: requests.Session, method: str, url: str, data: Any = None) -> requests.Response | None:
    """Make a request as a browser does, without following a redirect; None if no answer came."""
    # A proxy named by the environment is not for servers on this machine.
    session.trust_env = False
    try:
        return session.request(method, url, data=data, timeout=BROWSER_SECONDS, allow_redirects=False)
    except (requests.RequestException, OSError):
        return None


def status_of(answer: requests.Response | None) -> int | None:
    return None if answer is None else answer.status_code


class Person:
    """One customer, with a browser."""

    def __init__(self, town: Town, number: int) -> None:
        self.town = town
        self.record = town.record
        self.rng = random.Random(f"{town.seed}-{number}")
        kind = self.rng.choice([REGISTRAR, INDIVIDUAL])
        self.customer = Customer(kind, number, f"Invented {number}")
        self.in_force: Plan | None = None
        self.browser = requests.Session()
        self.signed = now() - timedelta(minutes=1)  # when CyberSource last signed a response

    def live(self, is_over: Callable[[], bool]) -> None:
        """Do all that is planned, or as much as the time allows."""
        steps = [self.buy] * self.rng.randint(0, 1) + [self.subscribe]
        if self.rng.random() < 0.15:
            steps += [self.change_in_two_tabs]
        steps += [self.change] * self.rng.choice([0, 0, 1, 2])
        later = [self.update_card] * self.rng.choice([0, 0, 1]) + [self.buy] * self.rng.randint(0, 2)
        self.rng.shuffle(later)
        steps += later
        if self.rng.random() < 0.4:
            steps += (
                [self.cancel] + [self.keep] * self.rng.choice([0, 0, 1]) + [self.cancel] * self.rng.choice([0, 1])
            )
        steps += [self.visit]
        with self.record.lock:
            self.record.customers.append(self.customer)
        for step in steps:
            if is_over():
                return
            try:
                step()
            except Left:
                self.record.count("customers who left")
                return
            time.sleep(self.rng.uniform(0, 0.3))

    # --- At Perma.cc ------------------------------------------------------------------------------------

    def look(self) -> StatusReply | None:
        """Perma.cc's page: what it says about the customer; None if it can't say anything now."""
        try:
            reply = self.town.perma(self.rng).status_of(self.customer)
        except Unavailable as error:
            self.record.note_answer("/subscription/", error.status)
            return None
        self.record.note_answer("/subscription/", 200)
        subscription = reply.subscription
        if subscription is None:
            self.in_force = None
        elif subscription.pending is None:
            self.in_force = subscription.plan
        return reply

    def see(self, is_there: Callable[[StatusReply], bool]) -> StatusReply:
        """Look at the page until something is there. Raises Left if it never is."""
        for attempt in range(LOOKS):
            reply = self.look()
            if reply and is_there(reply):
                return reply
            time.sleep(self.rng.uniform(0.2, 0.5) * (attempt + 1))
        raise Left

    def visit(self) -> None:
        """Open Perma.cc's page, in one or three tabs, which credits what was paid for; sometimes, only look."""
        if self.rng.random() < 0.2:
            self.look()
            return
        for _ in range(3):
            reply = self.look()
            if not reply or not reply.purchases:
                return
            tabs = [
                self.town.couriers.submit(self.credit, reply.purchases[0])
                for _ in range(self.rng.choice([1, 1, 3]))
            ]
            for tab in tabs:
                tab.result()

    def credit(self, purchase: Purchase) -> None:
        """Credit a purchase as Perma.cc does: for good only if the acknowledgement was answered in time."""
        try:
            self.town.perma(self.rng).acknowledge(purchase.id)
        except Unavailable as error:
            self.record.note_answer("/acknowledge-purchase/", error.status, is_good=False)
            if error.status is None:
                self.record.given_up.add(purchase.id)
            return
        self.record.note_answer("/acknowledge-purchase/", 200)
        self.record.credit(purchase.id)

    # --- In the browser ---------------------------------------------------------------------------------

    def press(self, method: str, path: str, data: dict[str, str] | None = None) -> requests.Response:
        """Press a button until a page comes. Raises Left if none does."""
        for attempt in range(PRESSES):
            answer = fetch(self.browser, method, urljoin(self.town.world.url(self.rng), path), data)
            self.record.note_answer(path.partition("?")[0], status_of(answer))
            if answer is not None and answer.status_code < 500:
                return answer
            time.sleep(self.rng.uniform(0.3, 1) * (attempt + 1))
        raise Left

    def post(self, path: str, message: dict[str, Any]) -> requests.Response:
        """Send the message of a page of Perma.cc's, again and again the same one."""
        return self.press("POST", path, {"encrypted_data": self.town.box.seal(message)})

    def form_for_cybersource(self, answer: requests.Response) -> AcceptedForm:
        """The signed form on a page. Raises Left for another page."""
        form = BeautifulSoup(answer.content, "html.parser").select_one("form#checkout")
        if form is None:
            raise Left
        fields = [(str(field["name"]), str(field["value"])) for field in form.select("input[name]")]
        accepted = check_form(urlsplit(str(form["action"])).path, fields, self.town.config, now())
        if not isinstance(accepted, AcceptedForm) or accepted.invalid_fields:
            self.record.objections.append(f"a form that CyberSource would not accept: {accepted}")
            raise Left
        return accepted

    def portal(self) -> BeautifulSoup:
        """The page of the service's own about the subscription."""
        leads_there = self.post("/update/", customer_message(self.customer, now()))
        if leads_there.status_code != 303:
            raise Left
        return BeautifulSoup(self.press("GET", leads_there.headers["Location"]).content, "html.parser")

    def press_in_portal(self, selector: str) -> requests.Response:
        """Press a button of the portal's. Raises Left if it isn't there."""
        form = self.portal().select_one(selector)
        if form is None:
            raise Left
        fields = {str(field["name"]): str(field["value"]) for field in form.select("input[name]")}
        return self.press("POST", str(form["action"]), fields)

    # --- What customers do ------------------------------------------------------------------------------

    def subscribe(self) -> None:
        """Subscribe, with up to three attempts at paying."""
        for _ in range(3):
            plan = self.rng.choice(plans_for(self.customer))
            answer = self.post("/subscribe/", subscribe_message(DEFAULT_CLIENT, self.customer, plan, now()))
            checkout = Checkout(SUBSCRIBE, self.customer, self.form_for_cybersource(answer), plan)
            if not self.pay(checkout):
                continue
            self.see(lambda reply: reply.subscription is not None)
            return
        raise Left

    def change(self) -> None:
        """Change to another plan, or take a scheduled change back."""
        reply = self.see(lambda reply: reply.subscription is not None)
        checkout = self.begin_change(reply, self.rng.choice(self.other_plans(reply)))
        if self.pay(checkout):
            wanted, is_scheduled = checkout.plan, checkout.change == "downgrade"
            self.see(
                lambda reply: (
                    reply.subscription is not None
                    and reply.subscription.plan.link_limit == (wanted and wanted.link_limit)
                    and bool(reply.subscription.pending) is is_scheduled
                )
            )

    def change_in_two_tabs(self) -> None:
        """Open the pages of two upgrades, pay both, and have the first one's response come last."""
        reply = self.see(lambda reply: reply.subscription is not None)
        dearer = [plan for plan in self.other_plans(reply) if self.in_force and plan.price > self.in_force.price]
        if len(dearer) < 2:
            return
        checkouts = [self.begin_change(reply, plan) for plan in dearer[:2]]
        for checkout in checkouts:
            self.end_at_cybersource(checkout, [ACCEPT])
        for checkout in reversed(checkouts):
            self.bring(checkout)
        if not all(response.promised for checkout in checkouts for response in checkout.responses):
            raise Left  # with both responses on the way, nobody knows what to show
        self.see(lambda reply: reply.subscription is not None and reply.subscription.plan == dearer[1])

    def other_plans(self, reply: StatusReply) -> Sequence[Plan]:
        """What the page offers to change to. Raises Left if it does not know the plan in force."""
        if reply.subscription is None or self.in_force is None or reply.subscription.status != "Current":
            raise Left
        in_force = self.in_force
        return [
            plan
            for plan in plans_for(self.customer)
            if plan.frequency == in_force.frequency and (plan != in_force or reply.subscription.pending)
        ]

    def begin_change(self, reply: StatusReply, plan: Plan) -> Checkout:
        assert reply.subscription and self.in_force
        change = change_to(
            DEFAULT_CLIENT, plan, in_force=self.in_force, paid_through=reply.subscription.paid_through, now=now()
        )
        answer = self.post("/change/", change_message(DEFAULT_CLIENT, self.customer, change, now()))
        return Checkout(CHANGE, self.customer, self.form_for_cybersource(answer), plan, change=change.kind)

    def update_card(self) -> None:
        """Replace the card, in the portal."""
        answer = self.press_in_portal("form.card")
        self.pay(Checkout(UPDATE, self.customer, self.form_for_cybersource(answer)))

    def buy(self) -> None:
        """Buy links, and come back to Perma.cc's page, which credits them."""
        package = self.rng.choice(PACKAGES)
        answer = self.post("/purchase/", purchase_message(self.customer, package, now()))
        checkout = Checkout(
            PURCHASE, self.customer, self.form_for_cybersource(answer), link_quantity=package.link_quantity
        )
        if self.pay(checkout):
            self.visit()

    def cancel(self) -> None:
        """Ask for the cancellation, sometimes twice."""
        cancellation = self.record.cancellations.setdefault(self.customer, Cancellation())
        if cancellation.is_requested:
            return
        cancellation.is_requested = None
        message = {"encrypted_data": self.town.box.seal(customer_message(self.customer, now()))}
        for _ in range(self.rng.choice([1, 2])):
            answer = self.press("POST", "/cancel-request/", message)
            if answer.status_code != 302:
                raise Left
        cancellation.is_requested = True
        self.record.count("cancellations")

    def keep(self) -> None:
        """Take the cancellation back, in the portal."""
        cancellation = self.record.cancellations[self.customer]
        cancellation.is_requested = None
        answer = self.press_in_portal("form.keep")
        if "done=" not in answer.headers.get("Location", ""):
            raise Left
        cancellation.is_requested = False
        cancellation.taken_back += 1
        self.record.count("cancellations taken back")

    # --- At CyberSource ---------------------------------------------------------------------------------

    def pay(self, checkout: Checkout) -> bool:
        """End a checkout at CyberSource, which responds; return whether it was accepted."""
        outcomes = self.rng.choices(
            [[ACCEPT], [REVIEW], [DECLINE, ACCEPT], [DECLINE], [CANCEL], [ERROR], []], [64, 6, 10, 6, 6, 3, 5]
        )[0]
        if checkout.kind == UPDATE and outcomes == [REVIEW]:
            outcomes = [ACCEPT]
        self.end_at_cybersource(checkout, outcomes)
        self.bring(checkout)
        if outcomes == [ERROR]:
            raise Left  # perhaps charged: wait for what staff find out
        return checkout.is_granted

    def end_at_cybersource(self, checkout: Checkout, outcomes: list[CheckoutOutcome]) -> None:
        """Have CyberSource make its responses, and record them before anyone hears of them."""
        form = checkout.form
        secret = SECRETS[form.access_key]
        card = self.rng.choice(CARDS)
        has_new_token = form.transaction_type in UPDATES and self.rng.random() < 0.5
        entered = Entered(
            billing={"bill_to_forename": "Avery", "bill_to_surname": "Müller, Jr."},
            card=card,
            card_expiry_date="12-2040",
            replaces_token=has_new_token,
        )
        for outcome in outcomes:
            # CyberSource signs to the second; two that one person pays are never signed in the same one.
            self.signed = max(now(), self.signed + timedelta(seconds=1))
            by_server = build_response(
                form, outcome, None if outcome is CANCEL else entered, secret=secret, now=self.signed
            )
            by_browser = carried_by_browser(by_server, secret=secret, now=self.signed)
            checkout.responses.append(SentResponse(by_server, by_browser))
        with self.record.lock:
            self.record.checkouts.append(checkout)
        self.record.count("checkouts")

    def bring(self, checkout: Checkout) -> None:
        """Deliver all responses of a checkout: by the server or the browser, once or often, now or later."""
        town = self.town
        responses = list(checkout.responses)
        if self.rng.random() < 0.3:
            responses.reverse()
        for response in responses:
            way = self.rng.choice(["both", "both", "browser first", "server", "browser", "twice", "eight", "late"])
            match way:
                case "both":
                    town.bring_by_server(response, self.rng)
                    town.bring_by_browser(response, self.rng)
                case "browser first":
                    town.bring_by_browser(response, self.rng)
                    town.bring_by_server(response, self.rng)
                case "server":
                    town.bring_by_server(response, self.rng)
                case "browser":
                    town.bring_by_browser(response, self.rng)
                case "twice":
                    town.bring_by_server(response, self.rng)
                    town.bring_by_server(response, self.rng)
                case "eight":
                    ways: list[Callable[[SentResponse, random.Random], object]]
                    ways = [town.bring_by_server] * 5 + [town.bring_by_browser] * 3
                    for each in [town.couriers.submit(way, response, self.rng) for way in ways]:
                        each.result()
                case "late":
                    town.couriers.submit(self._bring_late, response, self.rng.uniform(0.5, 4))

    def _bring_late(self, response: SentResponse, seconds: float) -> None:
        time.sleep(seconds)
        self.town.bring_by_server(response, self.rng)


def crowd(town: Town, *, at_once: int, numbers: Callable[[], int], is_over: Callable[[], bool]) -> None:
    """Let customers live, so many at once, until it is over. Raises what one of them raises."""
    problems: list[BaseException] = []

    def keep_living() -> None:
        try:
            while not is_over() and not problems:
                Person(town, numbers()).live(is_over)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=keep_living, daemon=True) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
