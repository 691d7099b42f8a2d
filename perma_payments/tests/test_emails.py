"""Mail: what the server accepted, what it refused, and what cannot be known, in real conversations."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from perma_payments import emails
from perma_payments.emails import (
    Mail,
    MailServer,
    NotDelivered,
    RefusedRecipient,
    ServerFailed,
    Unanswered,
    Unreachable,
    recipients,
)

from .mail_server import free_port, hanging_mail_server, use

ANNE, BEN = "anne@staff.example", "ben@staff.example"


@pytest.fixture(autouse=True)
def two_staff(settings):
    settings.STAFF_EMAILS = [ANNE, BEN]


def send(number: int = 1) -> list[RefusedRecipient]:
    """Send as many mails in one conversation."""
    with MailServer() as server:
        return [
            server.send(Mail("Subject", "Body: — é"), to=recipients("STAFF_EMAILS"), message_id=f"mail-{each}")
            for each in range(number)
        ][-1]


# --- What arrives -----------------------------------------------------------------------------------


def test_a_mail_arrives_as_it_was_written(mailbox, settings):
    assert send() == []

    (mail,) = mailbox.mails
    assert mail["Subject"] == "[Perma Payments] Subject"
    assert mail["From"] == settings.MAIL_FROM
    assert mail["Reply-To"] == settings.MAIL_REPLY_TO
    assert mail["Message-ID"] == "<mail-0@perma.example>"
    assert mail["X-Rcpt"] == f"{ANNE}, {BEN}"
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().strip() == "Body: — é"


def test_many_mails_go_in_one_conversation(mailbox):
    send(3)

    assert (len(mailbox.mails), mailbox.conversations) == (3, 1)


def test_an_address_of_two_settings_gets_a_mail_once(settings):
    settings.DEVELOPER_EMAILS = [BEN, "dev@staff.example"]

    assert [str(each) for each in recipients("STAFF_EMAILS", "DEVELOPER_EMAILS")] == [
        "STAFF_EMAILS, address 1",
        "STAFF_EMAILS, address 2",
        "DEVELOPER_EMAILS, address 2",
    ]


# --- What is refused --------------------------------------------------------------------------------


def test_recipients_that_are_not_refused_get_the_mail(mailbox):
    mailbox.refused[BEN] = 550
    (refusal,) = send(2)

    assert (str(refusal), refusal.is_temporary) == ("STAFF_EMAILS, address 2 (550)", False)
    assert [mail["X-Rcpt"] for mail in mailbox.mails] == [ANNE, ANNE]


def test_a_mail_is_not_delivered_if_all_recipients_are_refused(mailbox):
    mailbox.refused |= {ANNE: 550, BEN: 450}
    with MailServer() as server, pytest.raises(NotDelivered, match="SMTPRecipientsRefused") as caught:
        server.send(Mail("Subject", ""), to=recipients("STAFF_EMAILS"), message_id="mail")

    assert [refusal.code for refusal in server.refused] == [550, 450]
    assert not isinstance(caught.value, ServerFailed)


def test_a_server_that_refuses_a_mail_can_be_sent_another(mailbox):
    mailbox.refuses = True
    with MailServer() as server:
        with pytest.raises(NotDelivered, match="SMTPDataError 451") as caught:
            server.send(Mail("One", ""), to=recipients("STAFF_EMAILS"), message_id="one")
        mailbox.refuses = False
        server.send(Mail("Two", ""), to=recipients("STAFF_EMAILS"), message_id="two")

    assert not isinstance(caught.value, ServerFailed)
    assert (mailbox.subjects, mailbox.conversations) == (["Two"], 1)


# --- Servers that fail ------------------------------------------------------------------------------


def test_a_server_that_is_down_is_unreachable(settings):
    use(settings, free_port())

    with pytest.raises(Unreachable, match="ConnectionRefusedError"):
        send()


def test_a_server_that_says_nothing_is_unreachable(settings):
    settings.EMAIL_TIMEOUT = 0.3

    with hanging_mail_server(settings), pytest.raises(Unreachable):
        send()


@contextmanager
def scripted(settings, *answers: bytes, drip: float = 0.0, then_closes: bool = False) -> Iterator[list[bytes]]:
    """A server that gives these answers, one to each command, and then none; yields the lines that it hears."""
    heard: list[bytes] = []
    ended = threading.Event()

    def serve() -> None:
        connection, _ = server.accept()
        connection.settimeout(10)
        with connection, connection.makefile("rb") as lines:
            for answer in answers:
                connection.sendall(answer)
                line = lines.readline()
                heard.append(line)
                if answer.startswith(b"354"):
                    while line not in (b".\r\n", b""):
                        line = lines.readline()
                    heard.append(line)
            while drip and not ended.wait(drip):
                try:
                    connection.sendall(b"2")
                except OSError:
                    return
            if not then_closes:
                heard.append(lines.read())  # until the client has gone

    with hanging_mail_server(settings) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield heard
        finally:
            ended.set()
            thread.join(10)
    assert not thread.is_alive()


UP_TO_THE_TEXT = (b"220 hello\r\n", b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n")


def test_a_server_that_answers_letter_by_letter_is_unreachable(settings, monkeypatch):
    monkeypatch.setattr(emails, "MAIL_SECONDS", 0.5)
    # Each letter comes within EMAIL_TIMEOUT, all of them never.
    with scripted(settings, drip=0.05), pytest.raises(Unreachable):
        send()


def test_a_server_that_stops_before_the_text_took_no_mail(settings):
    settings.EMAIL_TIMEOUT = 1
    with scripted(settings, *UP_TO_THE_TEXT[:-1]) as heard, pytest.raises(ServerFailed) as caught:
        send()

    assert not isinstance(caught.value, (Unanswered, Unreachable))
    assert b"data\r\n" in [line.lower() for line in heard]


def test_a_server_that_is_silent_after_the_text_may_have_taken_it(settings, monkeypatch):
    monkeypatch.setattr(emails, "MAIL_SECONDS", 1.5)
    with scripted(settings, *UP_TO_THE_TEXT) as heard, pytest.raises(Unanswered, match="no answer came"):
        send()

    assert b".\r\n" in heard


def test_a_server_that_answers_gibberish_may_have_taken_the_mail(settings):
    answers = (*UP_TO_THE_TEXT, b"what?\r\n", b"250 ok\r\n", b"221 bye\r\n")
    with scripted(settings, *answers), pytest.raises(Unanswered, match="SMTPDataError -1"):
        send()


def test_a_server_that_closes_after_the_text_may_have_taken_it(settings):
    with scripted(settings, *UP_TO_THE_TEXT, then_closes=True), pytest.raises(Unanswered):
        send()


def test_a_server_that_goes_away_says_so(settings):
    with scripted(settings, *UP_TO_THE_TEXT, b"421 closing\r\n"), pytest.raises(ServerFailed) as caught:
        send()

    # It has answered to the text: it did not take it.
    assert not isinstance(caught.value, Unanswered)


def test_each_mail_of_a_conversation_has_its_own_limit(mailbox, monkeypatch):
    monkeypatch.setattr(emails, "MAIL_SECONDS", 3.8)
    mailbox.seconds_to_answer = 0.5

    # Together they take four seconds.
    assert send(8) == []


def test_each_mail_of_a_conversation_has_a_limit_for_each_step(settings):
    settings.EMAIL_TIMEOUT = 0.3
    start = time.monotonic()
    with scripted(settings, *UP_TO_THE_TEXT, b"250 taken\r\n"), pytest.raises(ServerFailed):
        send(2)

    assert time.monotonic() - start < 20


def test_an_answer_that_is_slower_than_a_step_may_be_counts(mailbox, settings):
    settings.EMAIL_TIMEOUT = 1
    mailbox.seconds_to_answer = 1.5

    assert send() == []


def test_a_server_that_hangs_at_quit_has_taken_the_mail(mailbox, monkeypatch):
    monkeypatch.setattr(emails, "QUIT_SECONDS", 0.2)
    mailbox.hangs_at_quit = True
    start = time.monotonic()

    assert send() == []
    assert len(mailbox.mails) == 1
    assert time.monotonic() - start < 10


def test_a_mail_that_was_given_up_is_not_delivered_afterwards(settings):
    settings.EMAIL_TIMEOUT = 0.3
    heard = []
    with hanging_mail_server(settings) as server:

        def greet_too_late() -> None:
            connection, _ = server.accept()
            with connection:
                given_up.wait(10)
                try:
                    connection.sendall(b"220 late\r\n")
                    connection.settimeout(5)
                    while data := connection.recv(1000):
                        heard.append(data)
                        connection.sendall(b"250 ok\r\n")
                except (TimeoutError, OSError):
                    return

        given_up = threading.Event()
        thread = threading.Thread(target=greet_too_late)
        thread.start()
        with pytest.raises(NotDelivered):
            send()
        given_up.set()
        thread.join()
    assert not any(b"MAIL FROM" in data.upper() for data in heard)
