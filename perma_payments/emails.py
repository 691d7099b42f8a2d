"""Mail over SMTP: what the mail server has accepted, what it has refused, and what cannot be known.

Django's backend holds the conversation. What smtplib knows and Django drops is recorded here: which recipients
were refused, and whether the text was handed over when the conversation broke.
"""

import contextlib
import smtplib
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.smtp import EmailBackend
from django.template.loader import render_to_string

# For connecting, and for each mail from its first command to the answer to its text. EMAIL_TIMEOUT limits each
# step but the last; this limits their sum, because a server that answers byte by byte never times out.
MAIL_SECONDS = 60.0
# Nothing depends on the answer to QUIT.
QUIT_SECONDS = 2.0


class Mail(NamedTuple):
    """What a mail says, in plain text."""

    subject: str
    body: str


@dataclass(frozen=True)
class Recipient:
    """An address from the settings. Logs call it by its place there, because addresses are not logged."""

    setting: str
    position: int
    address: str

    def __str__(self) -> str:
        return f"{self.setting}, address {self.position}"


@dataclass(frozen=True)
class RefusedRecipient:
    """A recipient that the mail server refused, and its code: 4xx for now, 5xx for good."""

    recipient: Recipient
    code: int

    @property
    def is_temporary(self) -> bool:
        return 400 <= self.code < 500

    def __str__(self) -> str:
        return f"{self.recipient} ({self.code})"


class NotDelivered(Exception):
    """The mail server did not accept the mail. The text says why, and quotes nothing of the mail."""


class ServerFailed(NotDelivered):
    """The conversation broke, or never began, so the next mail would fail too."""


class Unreachable(ServerFailed):
    """The conversation never began, which says nothing about the mail."""


class Unanswered(ServerFailed):
    """The mail was handed over in full, but no answer came: the server may have accepted it."""


def recipients(*names: str) -> list[Recipient]:
    """The addresses in the settings of these names, each address once."""
    found: dict[str, Recipient] = {}
    for name in names:
        for position, address in enumerate(getattr(settings, name), start=1):
            found.setdefault(address, Recipient(name, position, address))
    return list(found.values())


def refusal_notice(refusal: RefusedRecipient) -> Mail:
    """The notice to the developers about a refused recipient. It does not hold the address."""
    body = render_to_string("perma_payments/mail/refused.txt", {"refusal": refusal})
    return Mail(f"Refused: {refusal.recipient}", body)


class MailServer:
    """A conversation with the mail server, begun by the first mail and kept for those that follow."""

    def __init__(self) -> None:
        self.refused: list[RefusedRecipient] = []  # by all mails so far, delivered or not
        self._backend = _Backend()

    def __enter__(self) -> "MailServer":
        return self

    def __exit__(self, *exception: object) -> None:
        self._backend.close()

    def send(self, mail: Mail, *, to: Sequence[Recipient], message_id: str) -> list[RefusedRecipient]:
        """Hand over a mail; return the recipients that were refused, if not all were.

        Use the same ``message_id`` whenever the same mail is sent again, so mail programs can recognize it.
        Raises NotDelivered or one of its subclasses.
        """
        message = EmailMessage(
            subject=settings.MAIL_SUBJECT_PREFIX + mail.subject,
            body=mail.body,
            from_email=settings.MAIL_FROM,
            to=[recipient.address for recipient in to],
            reply_to=[settings.MAIL_REPLY_TO],
            headers={"Message-ID": f"<{message_id}@{settings.MAIL_FROM.rpartition('@')[2]}>"},
        )
        try:
            self._backend.open()
        except Exception as error:  # anything that the server or the network does
            raise Unreachable(_reason(error)) from None
        client = cast(_Client, self._backend.connection)
        client.begin_mail()
        try:
            self._backend.send_messages([message])
        except Exception as error:  # as above
            raise _failure(error, client) from None
        finally:
            client.timer.cancel()
            answers = zip(to, client.codes, strict=False)  # there may be no answer for the last ones
            refused = [RefusedRecipient(recipient, code) for recipient, code in answers if code not in (250, 251)]
            self.refused += refused
        return refused


class _Client(smtplib.SMTP):
    """smtplib's, with a limit for each mail, and a record of how far the last one got."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.timer = threading.Timer(0, self._cut_off)
        self.begin_mail()
        try:
            super().__init__(*args, **kwargs)
        except BaseException:
            self.timer.cancel()
            raise

    def begin_mail(self) -> None:
        """Forget the last mail, and cut the conversation off if this one takes longer than MAIL_SECONDS."""
        self.handed_over = False
        self.codes: list[int] = []
        if self.sock is not None:
            self.sock.settimeout(self.timeout)
        self.timer.cancel()
        self.timer = threading.Timer(MAIL_SECONDS, self._cut_off)
        self.timer.daemon = True
        self.timer.start()

    def _cut_off(self) -> None:
        if (sock := self.sock) is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def rcpt(self, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
        code, text = super().rcpt(*args, **kwargs)
        self.codes.append(code)
        return code, text

    def send(self, s: Any) -> None:
        super().send(s)
        # Only the text of a mail is sent as bytes. Once its end is sent, the server may accept it.
        if isinstance(s, bytes) and s.endswith(b"\r\n.\r\n"):
            self.handed_over = True
            if self.sock is not None:
                self.sock.settimeout(MAIL_SECONDS)


class _SSLClient(_Client, smtplib.SMTP_SSL):
    """The same over TLS from the first byte (port 465)."""


class _Backend(EmailBackend):
    @property
    def connection_class(self) -> Any:
        return _SSLClient if self.use_ssl else _Client

    def _close_connection(self, connection: Any) -> None:
        connection.timer.cancel()
        with contextlib.suppress(Exception):  # every mail has been answered
            connection.sock.settimeout(QUIT_SECONDS)
            connection.quit()
        connection.close()


def _failure(error: Exception, client: _Client) -> NotDelivered:
    """What an exception of smtplib's means for the mail, and for those after it."""
    code = getattr(error, "smtp_code", 0)
    # Without an answer, or with one that is no refusal, a mail that was handed over may have been accepted.
    if client.handed_over and not 400 <= code < 600:
        return Unanswered(f"no answer came to the mail itself ({_reason(error)})")
    # smtplib closes its socket when the conversation breaks, and when the server says goodbye (421).
    return (ServerFailed if client.sock is None else NotDelivered)(_reason(error))


def _reason(error: Exception) -> str:
    """The exception's type and the server's code. The rest of what it says may quote the mail."""
    code = getattr(error, "smtp_code", None)
    return type(error).__qualname__ + ("" if code is None else f" {code}")
