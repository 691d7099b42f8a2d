"""A customer's visit from end to end, unattended, over real HTTP.

    python -m sandbox.walkthrough --sandbox http://127.0.0.1:8001 [--payments http://127.0.0.1:8000]

Goes through the pages of a running sandbox and a running Perma Payments as a browser would, and
checks what it sees against the contract with Perma.cc (perma.md). Prints each step, then how many
checks passed and failed; exits 0 where all passed, else 1.

The customers it plays have random numbers, so that it can be run again and again against the same
Perma Payments. A step is a function that is given the Visit; STEPS lists them in order.
"""
from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from json import loads
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from .browser import Browser, Button, Form, Page, attribute
from .perma.client import read_date_time

LOOPBACK = frozenset({'localhost', '127.0.0.1', '::1'})
REFERENCE_NUMBER = re.compile(r'PERMA-[0-9]{4}-[0-9]{4}')


class StepFailed(Exception):
    """A step cannot go on. The text says what is off."""


@dataclass
class Report:
    """Prints what happens and counts the checks."""

    passed: int = 0
    failed: int = 0
    _step: int = 0

    def step(self, sentence: str) -> None:
        """Begin a step."""
        self._step += 1
        print(f'{self._step:2}. {sentence}')

    def note(self, text: str) -> None:
        """Print something that was sent or seen."""
        print(f'    {text}')

    def check(self, is_so: bool, sentence: str) -> None:
        """Count a check; `sentence` says what should be so, and is printed where it is not."""
        if is_so:
            self.passed += 1
        else:
            self.failed += 1
            print(f'    OFF: {sentence}')


@dataclass
class Subscribing:
    """What is known of one customer's way to a subscription, as far as it has come."""

    message: dict[str, Any]
    encrypted_form: Form
    checkout_form: Form
    callbacks: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Visit:
    """What the steps share. Customers are named as in the sandbox, such as `Registrar-7`."""

    sandbox: str
    payments: str | None
    number: int
    report: Report = field(default_factory=Report)
    browser: Browser = field(default_factory=Browser)
    ways: dict[str, Subscribing] = field(default_factory=dict)

    @property
    def registrar(self) -> str:
        """The customer who takes a monthly plan."""
        return f'Registrar-{self.number}'

    @property
    def individual(self) -> str:
        """The customer of the same number who takes an annual plan."""
        return f'Individual-{self.number}'

    @property
    def decliner(self) -> str:
        """The customer whose card is declined."""
        return f'Registrar-{self.number + 1}'

    def way_of(self, customer: str) -> Subscribing:
        """How far this customer has come. Raises StepFailed where it did not begin."""
        if customer not in self.ways:
            raise StepFailed(f'{customer} has no signed form from an earlier step')
        return self.ways[customer]

    def callback_url(self) -> str:
        """Where Perma Payments takes CyberSource's responses."""
        if self.payments is None:
            raise StepFailed('where Perma Payments is was not said and could not be seen')
        return f'{self.payments}/cybersource-callback/'


# What a visitor does

def open_settings(visit: Visit, customer: str) -> tuple[Page, dict[str, Any] | None]:
    """Open a customer's settings page: the page, and the subscription that it tells of."""
    page = visit.browser.open(f'{visit.sandbox}/settings/subscription/?customer={customer}')
    unavailable = page.soup.find(id='unavailable')
    if unavailable is not None:
        raise StepFailed(unavailable.get_text(' ', strip=True))
    reply = page.soup.find(id='opened-reply')
    if page.status != 200 or reply is None:
        raise StepFailed(f'the settings page of {customer} shows no reply (status {page.status})')
    return page, loads(reply.get_text())['subscription']


def find_plan(page: Page, frequency: str, link_limit: str) -> Form:
    """The form on the settings page that subscribes to a plan."""
    for form in page.forms:
        if attribute(form.tag, 'data-frequency') == frequency \
                and attribute(form.tag, 'data-link-limit') == link_limit:
            return form
    raise StepFailed(f'the settings page has no form for {link_limit} links {frequency}')


def read_traffic(visit: Visit, after: int = 0) -> list[dict[str, Any]]:
    """What the sandbox sent and saw after an entry."""
    entries = visit.browser.read_json(f'{visit.sandbox}/traffic.json?after={after}')
    if not isinstance(entries, list):
        raise StepFailed('the traffic of the sandbox is no list')
    return entries


def traffic_mark(visit: Visit) -> int:
    """The id of the newest entry in the traffic."""
    return max((entry['id'] for entry in read_traffic(visit)), default=0)


def find_message(visit: Visit, encrypted_data: str) -> dict[str, Any]:
    """What is inside a message that the sandbox sealed into a page."""
    for entry in read_traffic(visit):
        for message in entry.get('messages', []):
            if message['encrypted_data'] == encrypted_data:
                return dict(message['message'])
    raise StepFailed('the sandbox does not know the message that was sent')


def check_checkout_page(visit: Visit, page: Page) -> Form:
    """Check Perma Payments' page with the signed form; the form."""
    check = visit.report.check
    check(page.status == 200, f'the page with the signed form answers 200, not {page.status}')
    forms = [form for form in page.forms if form.method == 'post']
    check(len(forms) == 1, f'the page has exactly one POST form, not {len(forms)}')
    if not forms:
        raise StepFailed(f'there is no signed form on the page "{page.title}"')
    form = forms[0]
    fields = form.fields
    names = form.control_names
    check(
        sorted(names) == sorted([*fields.get('signed_field_names', '').split(','), 'signature']),
        'the form has the signed fields and the signature, each once, and nothing else with a name')
    check(fields.get('unsigned_field_names') == '', 'unsigned_field_names is there and empty')
    check('no-store' in page.headers.get('Cache-Control', ''),
          'the page is Cache-Control: no-store')
    check(form.accept_charset.upper() == 'UTF-8', 'the form has accept-charset UTF-8')
    check(any(button.is_visible for button in form.buttons), 'the form has a visible button')
    scripts = page.soup.select('script')
    check(bool(page.soup.select('script[src]')), 'the page has an external script')
    check(all(script.has_attr('src') for script in scripts), 'the page has no script of its own')
    for script in page.soup.select('script[src]'):
        url = urljoin(page.url, attribute(script, 'src'))
        if is_same_place(url, page.url):
            status = visit.browser.open(url).status
            check(status == 200, f'the script {attribute(script, "src")} is there, not {status}')
    if not is_same_place(form.action, visit.sandbox):
        raise StepFailed(
            f'the signed form goes to {form.action}, which is not the sandbox: nothing was sent')
    return form


def is_same_place(url: str, other: str) -> bool:
    """Whether two addresses have the same host and port; all names of this machine are one."""
    def place(address: str) -> tuple[str, int]:
        parts = urlsplit(address)
        try:
            port = parts.port
        except ValueError:
            port = None
        host = parts.hostname or ''
        return ('localhost' if host in LOOPBACK else host,
                port or (443 if parts.scheme == 'https' else 80))
    return place(url) == place(other)


def ask_for_plan(visit: Visit, customer: str, frequency: str, link_limit: str) -> Subscribing:
    """Pick a plan on the settings page; check the signed form that Perma Payments makes of it."""
    page, _ = open_settings(visit, customer)
    encrypted_form = find_plan(page, frequency, link_limit)
    if visit.payments is None:
        visit.payments = encrypted_form.action.removesuffix('/subscribe/')
    message = find_message(visit, encrypted_form.fields['encrypted_data'])
    note_fields(visit, 'sealed', message)
    form = check_checkout_page(visit, visit.browser.submit(encrypted_form))
    fields = form.fields
    if visit.ways:
        # In full the first time only: the others differ in their values alone.
        names = ['transaction_uuid', 'reference_number', 'amount', 'recurring_amount']
    else:
        names = list(fields)
    note_fields(visit, 'signed', {
        name: _shortened(fields.get(name, 'missing')) for name in names})
    check = visit.report.check
    asked = {
        'transaction_type': 'sale,create_payment_token',
        'amount': message['amount'],
        'currency': 'USD',
        'recurring_amount': message['recurring_amount'],
        'recurring_frequency': message['recurring_frequency'],
        'recurring_start_date': message['recurring_start_date'].replace('-', ''),
    }
    for name, value in asked.items():
        check(fields.get(name) == value, f'{name} is {value}, not {fields.get(name)}')
    check(REFERENCE_NUMBER.fullmatch(fields.get('reference_number', '')) is not None,
          'the reference number looks like PERMA-1234-5678')
    way = Subscribing(message, encrypted_form, form)
    visit.ways[customer] = way
    return way


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f'{text[:57]}…'


def note_fields(visit: Visit, title: str, fields: dict[str, Any]) -> None:
    """Print fields, one a line."""
    visit.report.note(f'{title}:')
    for name, value in fields.items():
        visit.report.note(f'  {name} = {value}')


def go_to_checkout(visit: Visit, customer: str) -> Page:
    """Post the signed form to CyberSource; the checkout page."""
    mark = traffic_mark(visit)
    page = visit.browser.submit(visit.way_of(customer).checkout_form)
    entry = next((entry for entry in read_traffic(visit, mark) if entry['kind'] == 'form'), None)
    if entry is None:
        raise StepFailed('the sandbox saw no form')
    if not entry['accepted']:
        raise StepFailed(f'CyberSource refused the form: {entry["reason"]}')
    visit.report.note('verdict: accepted')
    for text in entry['notes']:
        visit.report.note(f'note: {text}')
    return page


def press(visit: Visit, customer: str, page: Page, label: str) -> Page:
    """Press a button of the checkout page; check that Perma Payments takes the response."""
    for form in page.forms:
        for button in form.buttons:
            if button.text == label:
                return finish_checkout(visit, customer, form, button)
    raise StepFailed(f'the page "{page.title}" has no button {label}')


def finish_checkout(visit: Visit, customer: str, form: Form, button: Button) -> Page:
    """Submit the checkout's form; check that Perma Payments takes the response."""
    mark = traffic_mark(visit)
    page = visit.browser.submit(form, button)
    callbacks = [entry for entry in read_traffic(visit, mark) if entry['kind'] == 'callback']
    visit.way_of(customer).callbacks += callbacks
    for entry in callbacks:
        visit.report.note(entry['summary'] + (f': {entry["body"]!r}' if entry['body'] else ''))
    visit.report.check(
        len(callbacks) == 1 and callbacks[0]['status'] == 200,
        'Perma Payments answers 200 to the one response')
    visit.report.note(f'the customer sees: {page.title}')
    return page


def check_subscription(visit: Visit, customer: str) -> None:
    """Check what Perma Payments tells of a customer who has paid against what was asked for."""
    way = visit.way_of(customer)
    page, subscription = open_settings(visit, customer)
    check = visit.report.check
    if subscription is None:
        raise StepFailed(f'{customer} has paid and has no subscription')
    note_fields(visit, 'subscription', subscription)
    status = page.soup.find(id='status')
    check(status is not None and attribute(status, 'data-status') == 'Current',
          'the settings page says Current')
    expected = {
        'status': 'Current',
        'rate': way.message['recurring_amount'],
        'frequency': way.message['recurring_frequency'],
        'link_limit': way.message['link_limit'],
        'reference_number': way.checkout_form.fields.get('reference_number'),
    }
    for name, value in expected.items():
        check(subscription.get(name) == value, f'{name} is {value}, not {subscription.get(name)}')
    check(re.fullmatch(r'[0-9]+\.[0-9]{2}', str(subscription.get('rate'))) is not None,
          'rate is a string with two decimals')
    effective = read_time(visit, subscription, 'link_limit_effective_timestamp')
    if effective is not None:
        asked = way.message['link_limit_effective_timestamp']
        check(abs(effective.timestamp() - asked) < 0.001,
              'link_limit_effective_timestamp is the one asked for')
    paid_through = read_time(visit, subscription, 'paid_through')
    if paid_through is not None:
        start = datetime.strptime(
            way.message['recurring_start_date'], '%Y-%m-%d').replace(tzinfo=timezone.utc)
        check(abs(paid_through - start) <= timedelta(days=1),
              'paid_through is within a day of the next charge')


def read_time(visit: Visit, subscription: dict[str, Any], name: str) -> datetime | None:
    """Check that a field is a date-time in the client's format; the date-time where it is."""
    value = subscription.get(name)
    try:
        result = read_date_time(value)
    except ValueError:
        result = None
    visit.report.check(
        result is not None, f'{name} looks like 2026-11-21T00:00:00.000000Z, not {value}')
    return result


def check_no_subscription(visit: Visit, customer: str) -> None:
    """Check that a customer has no subscription."""
    _, subscription = open_settings(visit, customer)
    visit.report.note(f'{customer}: {"no subscription" if subscription is None else subscription}')
    visit.report.check(subscription is None, f'{customer} has no subscription')


def check_way_back(visit: Visit, page: Page) -> None:
    """Check that a page of Perma Payments leads back to Perma.cc and names a contact."""
    links = [link for link in page.links if '/settings/subscription' in urlsplit(link).path]
    visit.report.check(bool(links), 'the page has a link back to the settings page of Perma.cc')
    visit.report.check(
        '@' in page.text or any(link.startswith('mailto:') for link in page.links),
        'the page has a contact address')


def check_no_signed_form(visit: Visit, page: Page) -> None:
    """Check that a page cannot start a checkout."""
    visit.report.check(
        not any('signature' in form.control_names for form in page.forms),
        'the page has no signed form')


# The steps

def begin(visit: Visit) -> None:
    """Nobody has a subscription yet."""
    visit.report.step(f'{visit.registrar} and {visit.individual} open their settings pages.')
    check_no_subscription(visit, visit.registrar)
    check_no_subscription(visit, visit.individual)


def registrar_picks_a_plan(visit: Visit) -> None:
    """A monthly plan becomes a signed form."""
    visit.report.step(f'{visit.registrar} picks 100 links monthly.')
    ask_for_plan(visit, visit.registrar, 'monthly', '100')


def registrar_pays(visit: Visit) -> None:
    """CyberSource takes the form, and Perma Payments the response."""
    visit.report.step(f'{visit.registrar} goes on to CyberSource, with the signed form, and pays.')
    press(visit, visit.registrar, go_to_checkout(visit, visit.registrar), 'Pay')


def registrar_has_a_subscription(visit: Visit) -> None:
    """What was paid for is there, for this customer alone."""
    visit.report.step(f'{visit.registrar} is back at its settings page.')
    check_subscription(visit, visit.registrar)
    visit.report.step(f'{visit.individual}, of the same number, is another customer.')
    check_no_subscription(visit, visit.individual)


def registrar_subscribes_again(visit: Visit) -> None:
    """A standing subscription is not sold a second time."""
    visit.report.step(f'{visit.registrar} tries to subscribe again.')
    page, _ = open_settings(visit, visit.registrar)
    answer = visit.browser.submit(find_plan(page, 'monthly', '10'))
    visit.report.note(f'answer {answer.status}: {answer.title}')
    visit.report.check(answer.status == 200, f'the page answers 200, not {answer.status}')
    visit.report.check('already' in answer.text.lower(), 'the page says "already"')
    check_no_signed_form(visit, answer)
    check_way_back(visit, answer)


def individual_clicks_twice(visit: Visit) -> None:
    """The same message sent twice before it is paid leads to the same transaction."""
    visit.report.step(f'{visit.individual} picks unlimited links annually.')
    first = ask_for_plan(visit, visit.individual, 'annually', 'unlimited')
    visit.report.step('The button was clicked twice: the same message comes again.')
    form = check_checkout_page(visit, visit.browser.submit(first.encrypted_form))
    for name in ('transaction_uuid', 'reference_number'):
        old, new = first.checkout_form.fields.get(name), form.fields.get(name)
        visit.report.note(f'{name}: {old}, then {new}')
        visit.report.check(old == new, f'{name} is the same both times')
    first.checkout_form = form


def individual_pays(visit: Visit) -> None:
    """An annual plan is paid and there."""
    visit.report.step(f'{visit.individual} goes on to CyberSource and pays.')
    press(visit, visit.individual, go_to_checkout(visit, visit.individual), 'Pay')
    visit.report.step(f'{visit.individual} is back at its settings page.')
    check_subscription(visit, visit.individual)


def individual_sends_the_message_again(visit: Visit) -> None:
    """A message whose transaction is answered is used up."""
    visit.report.step(f'{visit.individual} goes back and sends the paid message once more.')
    answer = visit.browser.submit(visit.way_of(visit.individual).encrypted_form)
    visit.report.note(f'answer {answer.status}: {answer.title}')
    visit.report.check(answer.status == 400, f'the page answers 400, not {answer.status}')
    check_no_signed_form(visit, answer)
    check_way_back(visit, answer)


def card_is_declined(visit: Visit) -> None:
    """Who does not pay gets nothing."""
    visit.report.step(f'{visit.decliner} picks 10 links monthly, and the card is declined.')
    ask_for_plan(visit, visit.decliner, 'monthly', '10')
    press(visit, visit.decliner, go_to_checkout(visit, visit.decliner), 'Decline')
    check_no_subscription(visit, visit.decliner)


def own_form_comes_back(visit: Visit) -> None:
    """Perma Payments' own signature does not make a response of CyberSource."""
    visit.report.step(
        f'Someone sends the signed form of {visit.decliner} back as if it were a response.')
    fields = visit.way_of(visit.decliner).checkout_form.fields
    answer = visit.browser.post(visit.callback_url(), {**fields, 'decision': 'ACCEPT'})
    visit.report.note(f'answer {answer.status}')
    visit.report.check(answer.status == 400, f'it is answered 400, not {answer.status}')
    check_no_subscription(visit, visit.decliner)


def response_comes_again(visit: Visit) -> None:
    """A response that is delivered twice counts once."""
    visit.report.step(f'CyberSource delivers the response for {visit.registrar} again.')
    callbacks = visit.way_of(visit.registrar).callbacks
    if not callbacks:
        raise StepFailed('there is no response from an earlier step')
    _, before = open_settings(visit, visit.registrar)
    answer = visit.browser.post(
        visit.callback_url(), [(name, value) for name, value in callbacks[0]['fields']])
    visit.report.note(f'answer {answer.status}')
    visit.report.check(answer.status == 200, f'it is answered 200, not {answer.status}')
    _, after = open_settings(visit, visit.registrar)
    visit.report.check(before == after, 'nothing has changed')


STEPS: list[Callable[[Visit], None]] = [
    begin,
    registrar_picks_a_plan,
    registrar_pays,
    registrar_has_a_subscription,
    registrar_subscribes_again,
    individual_clicks_twice,
    individual_pays,
    individual_sends_the_message_again,
    card_is_declined,
    own_form_comes_back,
    response_comes_again,
]


def walk(visit: Visit) -> Report:
    """Take all the steps; one that cannot go on counts as a failed check.

    Raises requests.RequestException where the sandbox or Perma Payments does not answer at all.
    """
    for step in STEPS:
        try:
            step(visit)
        except StepFailed as problem:
            visit.report.check(False, str(problem))
    return visit.report


def main(arguments: Sequence[str] | None = None) -> int:
    """Walk and print; the result is the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m sandbox.walkthrough', description='A customer\'s visit from end to end.')
    parser.add_argument('--sandbox', default='http://127.0.0.1:8001', help='address of the sandbox')
    parser.add_argument(
        '--payments', help='address of Perma Payments; else the one that the sandbox sends to')
    parser.add_argument('--number', type=int, help='number of the customers; else a random one')
    options = parser.parse_args(arguments)
    visit = Visit(
        sandbox=options.sandbox.rstrip('/'),
        payments=options.payments and options.payments.rstrip('/'),
        number=options.number or random.randrange(1000, 900_000_000))
    try:
        report = walk(visit)
    except requests.RequestException as error:
        url = error.request.url if error.request is not None else options.sandbox
        print(f'The walkthrough stopped: no usable answer from {url} ({type(error).__name__}).',
              file=sys.stderr)
        return 1
    print(f'The walkthrough is over: {report.passed} checks passed, {report.failed} failed.')
    return 1 if report.failed else 0


if __name__ == '__main__':
    sys.exit(main())
