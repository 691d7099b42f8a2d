"""Mail: taking it over SMTP, reading and showing it, and failing on demand."""

import smtplib
import socket
from email.message import EmailMessage
from time import monotonic

import pytest
from bs4 import BeautifulSoup
from hypothesis import example, given, strategies as st

from sandbox.app import create_app
from sandbox.mail import smtp
from sandbox.mail.mailbox import Mailbox, Mode
from sandbox.mail.smtp import receiving

from .servers import any_listener


@pytest.fixture
def mailbox():
    """A mailbox that takes mail at its address."""
    mailbox = Mailbox()
    with receiving(mailbox, any_listener()):
        yield mailbox


@pytest.fixture
def browser(config, clock, mailbox):
    """A browser at a sandbox with this mailbox."""
    return create_app(config, clock, mailbox).test_client()


def mail(body="Cancel PERMA-1234-5678.\n", **headers):
    """A mail as Perma Payments would send it."""
    message = EmailMessage()
    for name, value in {
        "From": "payments@example.com",
        "Reply-To": "help@example.com",
        "To": "staff@example.com",
        "Subject": "Cancel a subscription",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }.items():
        message[name] = value
    message.set_content(body)
    return message


def connected(mailbox):
    """An SMTP client at the mailbox."""
    host, _, port = mailbox.address.rpartition(":")
    return smtplib.SMTP(host, int(port), timeout=30)


def send(mailbox, message=None):
    """Send a mail over SMTP."""
    with connected(mailbox) as server:
        server.send_message(message or mail())


# Taking mail


def test_mail_is_kept_with_the_headers_that_people_read(mailbox):
    send(mailbox, mail("Grüße\n", Subject="Für Sie", To="Staff <staff@example.com>"))
    (kept,) = mailbox.mails()
    assert (kept.sender, kept.reply_to, kept.to, kept.subject, kept.body) == (
        "payments@example.com",
        "help@example.com",
        "Staff <staff@example.com>",
        "Für Sie",
        "Grüße\n",
    )
    assert kept.recipients == ("staff@example.com",)


def test_refused_mail_is_not_kept(mailbox):
    mailbox.mode = Mode.REFUSES
    with pytest.raises(smtplib.SMTPDataError) as caught:
        send(mailbox)
    assert caught.value.smtp_code == 451
    assert mailbox.mails() == []
    mailbox.mode = Mode.TAKES
    send(mailbox)
    assert len(mailbox.mails()) == 1


def test_all_recipients_except_the_first_can_be_refused(mailbox):
    mailbox.mode = Mode.REFUSES_SOME
    with connected(mailbox) as server:
        refused = server.send_message(mail(To="a@example.com, b@example.com"))
    assert {address: code for address, (code, _) in refused.items()} == {"b@example.com": 550}
    assert mailbox.mails()[0].recipients == ("a@example.com",)


def test_mail_can_be_accepted_slowly(mailbox, monkeypatch):
    monkeypatch.setattr(smtp, "SLOW_SECONDS", 0.5)
    mailbox.mode = Mode.SLOW
    began = monotonic()
    send(mailbox)
    assert monotonic() - began >= 0.5


def test_mail_can_be_accepted_without_an_answer(mailbox):
    mailbox.mode = Mode.SILENT
    server = connected(mailbox)
    server.sock.settimeout(1.5)  # also for what comes before, on a busy machine
    with pytest.raises(smtplib.SMTPServerDisconnected):
        server.send_message(mail())
    assert len(mailbox.mails()) == 1


def test_the_server_can_hang_at_the_end_of_a_conversation(mailbox):
    mailbox.mode = Mode.HANGS_AT_QUIT
    server = connected(mailbox)
    server.send_message(mail())
    server.sock.settimeout(0.2)
    with pytest.raises(smtplib.SMTPServerDisconnected):
        server.quit()
    assert len(mailbox.mails()) == 1


def test_conversations_are_counted_by_the_mode_in_which_they_begin(mailbox):
    send(mailbox)
    send(mailbox)
    mailbox.mode = Mode.REFUSES
    with connected(mailbox):
        mailbox.mode = Mode.TAKES
    assert mailbox.conversations == {Mode.TAKES: 2, Mode.REFUSES: 1}


def test_the_server_can_answer_byte_by_byte(mailbox, monkeypatch):
    monkeypatch.setattr(smtp, "SECONDS_PER_BYTE", 0.001)
    began = monotonic()
    mailbox.mode = Mode.DRIPS
    send(mailbox)
    assert len(mailbox.mails()) == 1
    assert monotonic() - began > 0.1  # a byte at a time: all answers together have hundreds


def test_the_server_can_forget_a_mail_that_was_handed_over(mailbox):
    mailbox.mode = Mode.FORGETS
    server = connected(mailbox)
    with pytest.raises(smtplib.SMTPServerDisconnected):
        server.send_message(mail())
    assert mailbox.mails() == []


def test_the_server_can_hang_and_come_back(mailbox):
    mailbox.mode = Mode.HANGS
    host, _, port = mailbox.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=0.2) as connection:
        connection.sendall(b"EHLO test\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(1)
    mailbox.mode = Mode.TAKES
    send(mailbox)
    assert len(mailbox.mails()) == 1


def test_mail_that_is_too_long_is_refused(mailbox):
    with pytest.raises(smtplib.SMTPException):
        send(mailbox, mail(("x" * 70 + "\n") * 20_000))
    assert mailbox.mails() == []


@pytest.mark.parametrize("mode", Mode)
def test_the_server_stops_even_while_someone_is_connected(mode, monkeypatch):
    monkeypatch.setattr(smtp, "SECONDS_PER_BYTE", 0.01)
    mailbox = Mailbox()
    mailbox.mode = mode
    with receiving(mailbox, any_listener()):
        host, _, port = mailbox.address.rpartition(":")
        connection = socket.create_connection((host, int(port)), timeout=30)
        if mode is not Mode.HANGS:
            with connection.makefile("rb") as answers:
                assert answers.read(4) == b"220 "
    with connection, pytest.raises(OSError):
        socket.create_connection((host, int(port)), timeout=30)


def test_garbage_does_no_harm(mailbox, capfd):
    host, _, port = mailbox.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"\xff\x00" * 5000 + b"\r\nGET / HTTP/1.1\r\n\r\nQUIT\r\n")
        with connection.makefile("rb") as answers:
            assert answers.read().startswith(b"220 ")
    send(mailbox)
    assert len(mailbox.mails()) == 1
    assert "Traceback" not in capfd.readouterr().err


# Keeping mail


def test_only_the_newest_mails_are_kept_and_ids_go_on():
    mailbox = Mailbox(limit=2)
    for _ in range(5):
        mailbox.put(b"", [])
    assert [kept.id for kept in mailbox.mails()] == [4, 5]


def test_the_plain_text_of_a_multipart_mail_is_kept():
    message = mail("plain\n")
    message.add_alternative("<p>rich</p>", subtype="html")
    assert Mailbox().put(message.as_bytes(), []).body == "plain\n"


@pytest.mark.parametrize(
    "content, body",
    [
        (b"", ""),
        (b"Content-Type: text/html\r\n\r\n<p>", "Content-Type: text/html\n\n<p>"),
        (
            b"Content-Type: text/plain; charset=nonsense\r\n\r\nx",
            "Content-Type: text/plain; charset=nonsense\n\nx",
        ),
        (b"Subject: x\r\n\r\n\xff", "\ufffd"),
    ],
)
def test_an_unreadable_mail_is_shown_as_it_came(content, body):
    assert Mailbox().put(content, []).body == body


HEADERS = (b"From: ", b"Subject: ", b"Content-Type: ", b"Content-Transfer-Encoding: ", b"")


@given(st.builds(lambda header, rest: header + rest, st.sampled_from(HEADERS), st.binary(max_size=120)))
@example(b'From: \xff <@,;:"\r\n\r\n')
@example(b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n")
def test_every_mail_is_kept_as_text(content):
    kept = Mailbox().put(content, ["\udcff@example.com"])
    for text in (*kept.recipients, kept.message_id, kept.sender, kept.reply_to, kept.to, kept.subject, kept.body):
        text.encode("utf-8")


# The pages


def test_the_page_shows_the_newest_mail_first(browser, mailbox):
    send(mailbox)
    send(mailbox, mail("<b>Ä</b>\n", Subject="Second"))
    soup = BeautifulSoup(browser.get("/mailbox/").text, "html.parser")
    second, first = soup.select("li.mail")
    assert "Second" in second.summary.text and "<b>Ä</b>" in second.pre.text
    assert [value.text for value in first.select("dd")] == [
        "payments@example.com",
        "help@example.com",
        "staff@example.com",
    ]
    assert mailbox.address in soup.text


def test_a_hidden_recipient_is_shown(browser, mailbox):
    mailbox.put(mail().as_bytes(), ["hidden@example.com"])
    assert "delivered to hidden@example.com" in browser.get("/mailbox/").text


def test_programs_can_read_the_mail_oldest_first(browser, mailbox):
    send(mailbox)
    send(mailbox, mail(Subject="Second"))
    answer = browser.get("/mailbox.json").json
    assert (answer["address"], answer["mode"]) == (mailbox.address, "takes")
    first, second = answer["mails"]
    assert list(first) == ["id", "at", "recipients", "message_id", "from", "reply_to", "to", "subject", "body"]
    assert (first["id"], first["body"]) == (1, "Cancel PERMA-1234-5678.\n")
    assert second["subject"] == "Second"


@pytest.mark.parametrize("mode", [mode.value for mode in Mode])
def test_the_mode_is_set_on_the_page_and_shown_there(browser, mailbox, mode):
    answer = browser.post("/mailbox/mode", data={"mode": mode})
    assert (answer.status_code, answer.location) == (303, "/mailbox/")
    assert mailbox.mode is Mode(mode)
    soup = BeautifulSoup(browser.get("/mailbox/").text, "html.parser")
    assert soup.select_one("#mode option[selected]")["value"] == mode
    assert (soup.find(id="mode-note") is None) is (mode == "takes")


@pytest.mark.parametrize("data", [{}, {"mode": ""}, {"mode": "TAKES"}])
def test_an_unknown_mode_is_refused(browser, mailbox, data):
    assert browser.post("/mailbox/mode", data=data).status_code == 400
    assert mailbox.mode is Mode.TAKES


def test_a_sandbox_without_mail_says_so(client):
    assert "No mail is received" in client.get("/mailbox/").text
    assert client.get("/mailbox.json").json == {"address": None, "mode": "takes", "mails": []}
