"""A mail server for tests: real SMTP on a port of its own, with the ways in which mail servers fail."""

import asyncio
import atexit
import email
import email.policy
import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

logging.getLogger("mail.log").setLevel(logging.WARNING)


class Mailbox:
    """Keeps the mail that it accepts. If there are ``logins`` (passwords by user), it accepts none without one.

    With ``refuses``, it answers each mail with 451 (try later); ``refused`` maps the recipients that it refuses to
    the codes for that. It takes ``seconds_to_answer`` to accept a mail, and longer while it ``holds``; closes the
    connection at one that contains ``breaks_at``, and with ``hangs_at_quit`` never answers QUIT.
    """

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.conversations = 0
        self.logins: dict[str, str] = {}
        self.refuses = False
        self.refused: dict[str, int] = {}
        self.seconds_to_answer = 0.0
        self.holds = False
        self.hangs_at_quit = False
        self.breaks_at = ""

    async def handle_EHLO(
        self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        self.conversations += 1
        session.host_name = hostname
        return responses

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, login: Any) -> AuthResult:
        password = self.logins.get(login.login.decode())
        return AuthResult(success=password == login.password.decode(), handled=False)

    async def handle_MAIL(
        self, server: Any, session: Any, envelope: Any, address: str, mail_options: list[str]
    ) -> str:
        if self.logins and not session.authenticated:
            return "530 log in first"
        envelope.mail_from = address
        return "250 ok"

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, rcpt_options: list[str]
    ) -> str:
        if code := self.refused.get(address):
            return f"{code} not {address}"
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.refuses:
            return "451 try later"
        if self.breaks_at and self.breaks_at.encode() in envelope.content:
            server.transport.abort()
            return "421 unheard"
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        mail["X-Rcpt"] = ", ".join(envelope.rcpt_tos)
        self.mails.append(mail)
        await asyncio.sleep(self.seconds_to_answer)
        while self.holds:
            await asyncio.sleep(0.01)
        return "250 taken"

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:
        if self.hangs_at_quit:
            await asyncio.sleep(60)
        return "221 bye"

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]).removeprefix("[Perma Payments] ") for mail in self.mails]

    def body(self, index: int = -1) -> str:
        return str(self.mails[index].get_content())


class _Controller(Controller):
    """Listens at any free port. Ends its conversations when it is stopped, and leaves nothing that waits."""

    def __init__(self, mailbox: Mailbox, tls: ssl.SSLContext | None, starttls: ssl.SSLContext | None) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.starttls = starttls
        port = self.listener.getsockname()[1]
        super().__init__(mailbox, hostname="127.0.0.1", port=port, ready_timeout=60, ssl_context=tls)

    def _create_server(self) -> Any:
        return self.loop.create_server(self._factory_invoker, sock=self.listener, ssl=self.ssl_context)

    def factory(self) -> SMTP:
        return SMTP(
            self.handler,
            loop=self.loop,
            hostname="mail.example",
            tls_context=self.starttls,
            require_starttls=self.starttls is not None,
            authenticator=self.handler.authenticate,
            auth_require_tls=False,
        )

    def _stop(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        super()._stop()  # type: ignore[misc]


def free_port() -> int:
    """A port that stays bound until the tests end, so nothing listens on it."""
    reserved = socket.socket()
    reserved.bind(("127.0.0.1", 0))
    atexit.register(reserved.close)
    port: int = reserved.getsockname()[1]
    return port


@contextmanager
def mail_server(
    settings: Any, *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None
) -> Iterator[Mailbox]:
    """Run a mail server, and make the settings point at it. With a context it demands TLS, in one of two ways."""
    mailbox = Mailbox()
    controller = _Controller(mailbox, tls, starttls)
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
    """Send mail to a port of this machine; a port where nobody listens is a server that is down."""
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_USE_TLS = "127.0.0.1", port, False
