"""Mail over SMTP: what the mail server has taken, what it refused, and what nobody can know.

``mail_server()`` is one conversation that may carry many mails. Django's backend holds it; what smtplib knows and
Django drops is noted here: which recipients were refused, and whether the text was handed over when the
conversation broke.
"""

import contextlib
import functools
import smtplib
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.smtp import EmailBackend

# Seconds for a mail, from its first command to the answer to its text. Each step but the last, and connecting, has
# EMAIL_TIMEOUT; both, as a server that answers letter by letter is never late.
LIMIT = 60.0
# Nothing depends on the answer to QUIT.
LIMIT_TO_QUIT = 2.0

TAKEN = (250, 251)


class NotDelivered(Exception):
    """The mail server did not take the mail. The text says why, and holds nothing of the mail."""

    def __init__(self, reason: str, refused: "Sequence[Refusal]" = ()) -> None:
        super().__init__(reason)
        self.refused = refused


class ServerFailed(NotDelivered):
    """The conversation broke, or never began: another mail would only meet the same."""


class Unreachable(ServerFailed):
    """No conversation came about, which says nothing about the mail."""


class Unanswered(ServerFailed):
    """The mail was handed over in full, and the answer never came: it may have been taken."""


@dataclass(frozen=True)
class Recipient:
    """An address from the settings. It is called by its place there, as addresses are not logged."""

    setting: str
    position: int
    address: str

    def __str__(self) -> str:
        return f"{self.setting}, address {self.position}"


@dataclass(frozen=True)
class Refusal:
    """A recipient that the mail server refused, and the code it did so with: 4xx for now, 5xx for good."""

    recipient: Recipient
    code: int

    @property
    def is_temporary(self) -> bool:
        return 400 <= self.code < 500

    def __str__(self) -> str:
        return f"{self.recipient} ({self.code})"


def recipients(*names: str) -> list[Recipient]:
    """The addresses of some settings, each address once."""
    found: dict[str, Recipient] = {}
    for name in names:
        for position, address in enumerate(getattr(settings, name), start=1):
            found.setdefault(address, Recipient(name, position, address))
    return list(found.values())


class MailServer:
    """A conversation with the mail server, begun for the first mail and kept for those that follow."""

    def __init__(self) -> None:
        self._backend = _Backend()

    def send(self, subject: str, body: str, *, to: Sequence[Recipient], message_id: str) -> list[Refusal]:
        """Hand over a plain-text mail; return the recipients that were refused, if at least one was not.

        ``message_id`` is the same whenever the same mail is sent again, so that the receiving side can tell.
        Raises NotDelivered if nobody gets it, or whichever of its kinds it is.
        """
        message = EmailMessage(
            subject=settings.MAIL_SUBJECT_PREFIX + subject,
            body=body,
            from_email=settings.MAIL_FROM,
            to=[recipient.address for recipient in to],
            reply_to=[settings.MAIL_REPLY_TO],
            headers={"Message-ID": f"<{message_id}@{settings.MAIL_FROM.rpartition('@')[2]}>"},
        )
        try:
            self._backend.open()
        except Exception as error:  # whatever the server or the network does
            raise Unreachable(_reason(error)) from None
        client = cast(_Client, self._backend.connection)
        client.begin()
        try:
            self._backend.send_messages([message])
        except Exception as error:  # as above
            raise _failure(error, client, to) from None
        finally:
            client.unwatch()
        return _refused(client, to)

    def close(self) -> None:
        """Take leave, without waiting for an answer. Raises nothing."""
        self._backend.close()


@contextlib.contextmanager
def mail_server() -> Iterator[MailServer]:
    """A mail server to send mails to; nothing is said to it before the first."""
    server = MailServer()
    try:
        yield server
    finally:
        server.close()


class _Client(smtplib.SMTP):
    """smtplib's, with a limit for each mail, and a memory of how far the last one came."""

    def __init__(self, *args: Any, limit: float, **kwargs: Any) -> None:
        self.handed_over = False
        self.codes: list[int] = []
        self._limit = limit
        self._watch: threading.Timer | None = None
        self.watch()
        try:
            super().__init__(*args, **kwargs)
        except BaseException:
            self.unwatch()
            raise

    def watch(self) -> None:
        """Cut the conversation off if the limit passes."""
        self.unwatch()
        self._watch = threading.Timer(self._limit, self._cut_off)
        self._watch.daemon = True
        self._watch.start()

    def unwatch(self) -> None:
        """The limit holds no more."""
        if self._watch is not None:
            self._watch.cancel()

    def _cut_off(self) -> None:
        sock = getattr(self, "sock", None)  # it may be closed, or not be there yet
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def begin(self) -> None:
        """A new mail, with a limit and a memory of its own."""
        self.handed_over, self.codes = False, []
        if self.sock is not None:
            self.sock.settimeout(self.timeout)
        self.watch()

    def rcpt(self, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
        code, text = super().rcpt(*args, **kwargs)
        self.codes.append(code)
        return code, text

    def send(self, s: Any) -> None:
        super().send(s)
        # Only the text of a mail is sent as bytes; with its end the server may take it.
        if isinstance(s, bytes) and s.endswith(b"\r\n.\r\n"):
            self.handed_over = True
            if self.sock is not None:
                self.sock.settimeout(self._limit)


class _SSLClient(_Client, smtplib.SMTP_SSL):
    """The same over TLS from the first byte (port 465)."""


class _Backend(EmailBackend):
    """Django's, on our client."""

    @property
    def connection_class(self) -> Any:
        return functools.partial(_SSLClient if self.use_ssl else _Client, limit=LIMIT)

    def _close_connection(self, connection: Any) -> None:
        connection.unwatch()
        with contextlib.suppress(Exception):  # every mail has had its answer
            connection.sock.settimeout(LIMIT_TO_QUIT)
            connection.quit()
        connection.close()


def _failure(error: Exception, client: _Client, to: Sequence[Recipient]) -> NotDelivered:
    """What an exception of smtplib's means for the mail, and for those after it."""
    code = getattr(error, "smtp_code", 0)
    # An answer that is no refusal, or none, does not say what became of a mail that was handed over.
    if client.handed_over and not 400 <= code < 600:
        return Unanswered(f"no answer came to the mail itself ({_reason(error)})", _refused(client, to))
    # smtplib has closed its socket where the server says that it will go (421).
    is_broken = (
        client.sock is None
        or isinstance(error, smtplib.SMTPServerDisconnected)
        or (isinstance(error, OSError) and not isinstance(error, smtplib.SMTPException))
    )
    return (ServerFailed if is_broken else NotDelivered)(_reason(error), _refused(client, to))


def _refused(client: _Client, to: Sequence[Recipient]) -> list[Refusal]:
    return [
        Refusal(recipient, code) for recipient, code in zip(to, client.codes, strict=False) if code not in TAKEN
    ]


def _reason(error: Exception) -> str:
    """An exception in a word, and the server's code. What else it says may quote the mail."""
    code = getattr(error, "smtp_code", None)
    return type(error).__qualname__ + ("" if code is None else f" {code}")
