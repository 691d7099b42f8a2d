"""The mail that was received, in memory, and what happens to new mail."""

import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as default_policy
from enum import Enum
from typing import Any

MAX_MAILS = 300


class Mode(Enum):
    """What happens to mail; the values are those of the mailbox page's form."""

    TAKES = "takes"
    REFUSES = "refuses"
    REFUSES_SOME = "refuses some"
    SLOW = "slow"
    SILENT = "silent"
    HANGS_AT_QUIT = "hangs at quit"
    DRIPS = "drips"
    FORGETS = "forgets"
    HANGS = "hangs"

    @property
    def keeps(self) -> bool:
        """Whether mail is kept and shown; the sender may not be told so."""
        return self not in (Mode.REFUSES, Mode.FORGETS, Mode.HANGS)


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A mail: the headers that people read, and the plain text of its body.

    `received_at` is UTC. `recipients` are those of the envelope, `to` is the header.
    """

    id: int
    received_at: datetime
    recipients: tuple[str, ...]
    message_id: str
    sender: str
    reply_to: str
    to: str
    subject: str
    body: str

    def as_json(self) -> dict[str, Any]:
        """The mail as a JSON object."""
        return {
            "id": self.id,
            "at": self.received_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "recipients": list(self.recipients),
            "message_id": self.message_id,
            "from": self.sender,
            "reply_to": self.reply_to,
            "to": self.to,
            "subject": self.subject,
            "body": self.body,
        }


class Mailbox:
    """The newest mails. Safe to use from several threads.

    `address` is where mail is received, as host:port, or None. It is set once, before anybody looks.
    `conversations` counts those that were begun in each mode.
    """

    def __init__(self, limit: int = MAX_MAILS) -> None:
        self.address: str | None = None
        self.mode = Mode.TAKES
        self.conversations: Counter[Mode] = Counter()
        self._lock = threading.Lock()
        self._mails: deque[Mail] = deque(maxlen=limit)
        self._last_id = 0

    def put(self, content: bytes, recipients: Sequence[str]) -> Mail:
        """Keep a mail that came just now."""
        message = message_from_bytes(content, policy=default_policy)
        with self._lock:
            self._last_id += 1
            mail = Mail(
                id=self._last_id,
                received_at=datetime.now(UTC),
                recipients=tuple(_clean(recipient) for recipient in recipients),
                message_id=_header(message, "Message-ID"),
                sender=_header(message, "From"),
                reply_to=_header(message, "Reply-To"),
                to=_header(message, "To"),
                subject=_header(message, "Subject"),
                body=_plain_text(message, content),
            )
            self._mails.append(mail)
            return mail

    def mails(self) -> list[Mail]:
        """All mails, oldest first."""
        with self._lock:
            return list(self._mails)


# Anything may come, and Python's mail parser raises all kinds of errors for malformed mail. Such a mail is shown
# as it came.


def _header(message: EmailMessage, name: str) -> str:
    try:
        return _clean(", ".join(str(value) for value in message.get_all(name, [])))
    except Exception:
        return ""


def _plain_text(message: EmailMessage, content: bytes) -> str:
    try:
        part = message.get_body(("plain",))
        text = None if part is None else part.get_content()
    except Exception:
        text = None
    return _clean(text if isinstance(text, str) else content.decode("utf-8", "replace"))


def _clean(text: str) -> str:
    """Text that can be shown and put into JSON."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n")
