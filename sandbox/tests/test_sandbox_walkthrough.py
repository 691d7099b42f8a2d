"""The walkthrough, from end to end, against a small Perma Payments of its own."""
from __future__ import annotations

import pytest

from sandbox.app import create_app
from sandbox.config import Config
from sandbox.walkthrough import main

from .fake_payments import FakePayments
from .servers import closed_port, serving


@pytest.fixture
def payments():
    return FakePayments()


@pytest.fixture
def walk(payments, capsys):
    """Walk through a sandbox and `payments`; the exit status and what was printed."""
    with serving(payments.app) as payments_url:
        with serving(create_app(Config(payments_url=payments_url))) as sandbox_url:
            payments.sandbox_url = sandbox_url

            def run(*arguments):
                status = main(['--sandbox', sandbox_url, *arguments])
                return status, capsys.readouterr().out
            yield run


def test_all_checks_pass_where_nothing_is_off(walk):
    status, printed = walk()
    assert 'OFF' not in printed
    assert ' checks passed, 0 failed.' in printed
    assert status == 0


def test_it_can_be_walked_again_against_the_same_perma_payments(walk):
    assert walk()[0] == 0
    assert walk()[0] == 0


def test_the_same_customers_again_are_off_because_they_have_subscriptions(walk):
    assert walk('--number', '4711')[0] == 0
    status, printed = walk('--number', '4711')
    assert status == 1
    assert 'OFF: Registrar-4711 has no subscription' in printed


@pytest.mark.parametrize('fault, complaint', [
    ('two forms', 'exactly one POST form, not 2'),
    ('named csrf token', 'nothing else with a name'),
    ('cached page', 'no-store'),
    ('new uuid each time', 'transaction_uuid is the same both times'),
    ('sells twice', 'the page says "already"'),
    ('takes anything', 'it is answered 400, not 200'),
    ('no fraction', 'paid_through'),
])
def test_a_mistake_of_perma_payments_is_found(walk, payments, fault, complaint):
    payments.faults.add(fault)
    status, printed = walk()
    assert status == 1
    assert any('OFF' in line and complaint in line for line in printed.splitlines())


def test_a_signed_form_is_never_sent_to_anybody_but_the_sandbox(walk, payments):
    payments.sandbox_url = 'https://checkout.invalid'
    status, printed = walk()
    assert status == 1
    assert 'which is not the sandbox: nothing was sent' in printed


def test_a_sandbox_that_is_not_there_is_said_in_one_sentence(capsys):
    status = main(['--sandbox', f'http://127.0.0.1:{closed_port()}'])
    printed = capsys.readouterr()
    assert status == 1
    assert printed.err.count('\n') == 1
    assert printed.err.startswith('The walkthrough stopped: no usable answer from http://127.0.0.1')


def test_a_perma_payments_that_is_not_there_fails_its_checks(capsys):
    config = Config(payments_url=f'http://127.0.0.1:{closed_port()}')
    with serving(create_app(config)) as sandbox_url:
        status = main(['--sandbox', sandbox_url])
    assert status == 1
    assert 'Perma Payments is not available' in capsys.readouterr().out
