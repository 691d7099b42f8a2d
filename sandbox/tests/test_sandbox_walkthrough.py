"""The walkthrough, from end to end, against a small Perma Payments of its own."""

from __future__ import annotations

import pytest

from sandbox.app import create_app
from sandbox.config import Config
from sandbox.mail.mailbox import Mailbox
from sandbox.mail.smtp import receiving
from sandbox.walkthrough import altering, buying, returning, subscribing
from sandbox.walkthrough.__main__ import main, walk
from sandbox.walkthrough.altering import mentioned
from sandbox.walkthrough.visit import Visit

from .fake_payments import FakePayments
from .servers import any_listener, closed_port, serving


@pytest.fixture
def payments():
    return FakePayments()


@pytest.fixture
def mailbox(payments):
    """A mailbox that `payments` can write to."""
    mailbox, listener = Mailbox(), any_listener()
    payments.mail_port = listener.getsockname()[1]
    with receiving(mailbox, listener):
        yield mailbox


@pytest.fixture
def sandbox_url(payments, mailbox):
    """A sandbox that knows `payments`, and is known to it."""
    with serving(payments.app) as payments_url:
        app = create_app(Config(payments_url=payments_url), mailbox=mailbox)
        with serving(app) as payments.sandbox_url:
            yield payments.sandbox_url


@pytest.fixture
def run(sandbox_url, capsys):
    """Walk through all; the exit status and what was printed."""

    def run():
        status = main(["--sandbox", sandbox_url])
        return status, capsys.readouterr().out

    return run


@pytest.fixture
def complaints(sandbox_url, capsys, monkeypatch):
    """Take some steps only; what they found to be off."""
    monkeypatch.setattr(altering, "MAIL_SECONDS", 0)

    def take(*steps, number=4711):
        report = walk(Visit(sandbox=sandbox_url, payments=None, number=number), steps)
        lines = capsys.readouterr().out.splitlines()
        off = [line.partition("OFF: ")[2] for line in lines if "OFF: " in line]
        assert len(off) == report.failed
        return off

    return take


def test_all_checks_pass_where_nothing_is_off(run):
    status, printed = run()
    assert "OFF" not in printed
    assert " checks passed, 0 failed." in printed
    assert status == 0


def test_it_can_be_walked_again_against_the_same_perma_payments_with_other_customers(complaints):
    steps = [subscribing.begin, subscribing.registrar_picks_a_plan, subscribing.registrar_pays]
    assert complaints(*steps) == []
    assert complaints(*steps, number=815) == []
    assert "Registrar-4711 has no subscription" in complaints(*steps)


BUY = [buying.member_buys_links]
UPGRADE = [altering.member_subscribes, altering.member_upgrades]
RETURN = [returning.subscribers_browser_is_first]
CANCEL = [altering.member_subscribes, altering.member_cancels, altering.staff_get_one_mail]


@pytest.mark.parametrize(
    "fault, steps, complaint",
    [
        ("two forms", [subscribing.registrar_picks_a_plan], "exactly one POST form, not 2"),
        ("named csrf token", [subscribing.registrar_picks_a_plan], "nothing else with a name"),
        ("cached page", [subscribing.registrar_picks_a_plan], "no-store"),
        ("new uuid each time", [subscribing.individual_clicks_twice], "transaction_uuid is the same"),
        (
            "sells twice",
            [
                subscribing.registrar_picks_a_plan,
                subscribing.registrar_pays,
                subscribing.registrar_subscribes_again,
            ],
            'the page says "already"',
        ),
        (
            "takes anything",
            [subscribing.card_is_declined, subscribing.own_form_comes_back],
            "it is answered 400, not 200",
        ),
        ("believes all", [subscribing.card_is_declined], "Registrar-4712 has no subscription"),
        ("no fraction", [altering.member_subscribes], "paid_through"),
        ("new reference", UPGRADE, "reference_number is PERMA-0000-0001, not PERMA-0000-0002"),
        ("believes all", [*UPGRADE, altering.upgrade_is_declined], "the subscription is as it was"),
        (
            "posts to /pay",
            [altering.member_subscribes, altering.member_downgrades],
            "the form goes to /token/update, not /pay",
        ),
        (
            "forgets the future",
            [altering.member_subscribes, altering.member_downgrades],
            "link_limit_effective_timestamp is the one asked for",
        ),
        (
            "keeps the old token",
            [subscribing.registrar_picks_a_plan, subscribing.registrar_pays, altering.registrar_gets_a_new_token],
            "payment_token is ",
        ),
        ("empty 405", [subscribing.begin, altering.addresses_are_opened], "the page says something"),
        ("takes all", BUY, "nothing is credited a second time"),
        ("keeps offering", BUY, "what was credited is not offered again"),
        ("no history", BUY, "the history lists the purchase once, not 0 times"),
        ("odd dates", BUY, "its date is not a date-time"),
        ("believes all", [buying.purchase_is_left_unpaid], "an unpaid purchase is not offered"),
        ("counts each delivery", [*RETURN, returning.purchases_come_back], "the links are credited, once"),
        (
            "always says success",
            [returning.subscriber_leaves],
            "with subscription=canceled, not subscription=success",
        ),
        ("always says success", [subscribing.card_is_declined], "with no parameter, not subscription=success"),
        (
            "believes the browser",
            [*RETURN, returning.nothing_unsigned_is_believed],
            "with no parameter, not change=success",
        ),
        ("returns with 302", RETURN, "the customer is sent on with 303, not 302"),
        ("old address", RETURN, "the customer lands on the usage plan page"),
        ("old address", RETURN, "the page has the message for subscription=success"),
        ("deaf to the browser", [*RETURN, returning.changes_come_back], "rate is "),
        ("no redirect", CANCEL, "it is answered 302, not 200"),
        ("forgets cancellation", CANCEL, "the status is Cancellation Requested"),
        ("no mail", CANCEL, "there is one mail about PERMA-0000-0001, not 0"),
        ("mails twice", CANCEL, "there is one mail about PERMA-0000-0001, not 3"),
        ("mail without link", CANCEL, "the registrar's page"),
        ("personal mail", CANCEL, "nothing of what was typed"),
        (
            "alters what is cancelled",
            [altering.member_subscribes, altering.member_cancels, altering.cancelled_is_not_altered],
            "the page has no signed form",
        ),
    ],
)
def test_a_mistake_of_perma_payments_is_found(complaints, payments, fault, steps, complaint):
    payments.faults.add(fault)
    assert any(complaint in line for line in complaints(*steps))


def test_steps_that_need_an_earlier_one_say_so(complaints):
    assert (
        complaints(altering.member_upgrades, altering.staff_get_one_mail)
        == ["Registrar-4713 has no subscription"] * 2
    )


@pytest.mark.parametrize(
    "mode, complaint",
    [("refuses", "the mailbox of the sandbox is set to take no mail"), (None, "the sandbox takes no mail")],
)
def test_a_sandbox_that_takes_no_mail_is_said(complaints, payments, mailbox, mode, complaint):
    payments.faults.add("no mail")
    if mode is None:
        mailbox.address = None
    else:
        mailbox.mode = type(mailbox.mode)(mode)
    assert complaints(*CANCEL) == [complaint]


def test_what_was_typed_is_looked_for_in_whole_words():
    typed = {"Robin", "02138", "MA", "", "1 Invented Street"}
    assert mentioned(typed, "Robins of 1021380, MA") == []
    assert mentioned(typed, "for Robin, 02138.") == ["02138", "Robin"]


def test_a_signed_form_is_never_sent_to_anybody_but_the_sandbox(complaints, payments):
    payments.sandbox_url = "https://checkout.invalid"
    assert any(
        "which is not the sandbox: nothing was sent" in line
        for line in complaints(subscribing.registrar_picks_a_plan)
    )


def test_a_sandbox_that_is_not_there_is_said_in_one_sentence(capsys):
    status = main(["--sandbox", f"http://127.0.0.1:{closed_port()}"])
    printed = capsys.readouterr()
    assert status == 1
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("The walkthrough stopped: no usable answer from http://127.0.0.1")


def test_a_perma_payments_that_is_not_there_fails_its_checks(capsys):
    config = Config(payments_url=f"http://127.0.0.1:{closed_port()}")
    with serving(create_app(config)) as sandbox_url:
        report = walk(Visit(sandbox=sandbox_url, payments=None, number=1), [subscribing.begin])
    assert report.failed == 1
    assert "Perma Payments is not available" in capsys.readouterr().out
