"""Mail: sent in time, or not at all."""
import socket
import threading

import pytest

from perma_payments import emails
from perma_payments.emails import NotDelivered

from .mail_server import free_port, hanging_mail_server, use


def send(limit: float = 10) -> None:
    emails.send("Subject", "Body: — é", to=["a@staff.example", "b@staff.example"], limit=limit)


def test_a_mail_arrives_as_it_was_written(mailbox, settings):
    send()

    (mail,) = mailbox.mails
    assert mail["Subject"] == "[Perma Payments] Subject"
    assert mail["From"] == settings.MAIL_FROM
    assert mail["Reply-To"] == settings.MAIL_REPLY_TO
    assert mail["X-Rcpt"] == "a@staff.example, b@staff.example"
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().strip() == "Body: — é"


def test_a_server_that_is_down_is_an_answer(settings):
    use(settings, free_port())

    with pytest.raises(NotDelivered, match="ConnectionRefusedError"):
        send()


def test_a_server_that_refuses_is_an_answer(mailbox):
    mailbox.refuses = True

    with pytest.raises(NotDelivered, match="SMTPDataError"):
        send()
    assert mailbox.mails == []


def test_a_server_that_says_nothing_is_not_waited_for(settings):
    with hanging_mail_server(settings), pytest.raises(NotDelivered):
        send(limit=0.3)


def test_a_server_that_answers_letter_by_letter_is_not_waited_for_either(settings):
    with hanging_mail_server(settings) as server:
        end = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                while not end.wait(0.05):
                    try:
                        connection.sendall(b"2")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            # Each letter comes within the limit, all of them never.
            with pytest.raises(NotDelivered, match="longer than"):
                send(limit=0.5)
        finally:
            end.set()
            thread.join()


def test_a_mail_that_was_given_up_is_not_delivered_afterwards(settings):
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
                except (OSError, socket.timeout):
                    return

        given_up = threading.Event()
        thread = threading.Thread(target=greet_too_late)
        thread.start()
        with pytest.raises(NotDelivered):
            send(limit=0.3)
        given_up.set()
        thread.join()
    assert not any(b"MAIL FROM" in data.upper() for data in heard)
