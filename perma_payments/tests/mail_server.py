"""A mail server for tests: real SMTP on a port of its own, with the ways in which mail servers fail."""
import email
import email.policy
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller

logging.getLogger("mail.log").setLevel(logging.WARNING)


class Mailbox:
    """Keeps what it is sent; with ``refuses`` it says 451, try later."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refuses = False

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 (aiosmtpd's name)
        if self.refuses:
            return "451 try later"
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        mail["X-Rcpt"] = ", ".join(envelope.rcpt_tos)
        self.mails.append(mail)
        return "250 taken"

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]).removeprefix("[Perma Payments] ") for mail in self.mails]

    def body(self, index: int = -1) -> str:
        return str(self.mails[index].get_content())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def mail_server(settings: Any) -> Iterator[Mailbox]:
    """Run a mail server, and make the settings point at it."""
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    use(settings, controller.port)
    try:
        yield mailbox
    finally:
        controller.stop()


@contextmanager
def hanging_mail_server(settings: Any) -> Iterator[socket.socket]:
    """Take connections and never say a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        use(settings, server.getsockname()[1])
        yield server


def use(settings: Any, port: int) -> None:
    """Send mail by SMTP to a port of this machine; a port where nobody listens is a server that is down."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_USE_TLS = "127.0.0.1", port, False
