"""Mail that is sent within a time limit, or not at all."""
import contextlib
import socket
import threading
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection


class NotDelivered(Exception):
    """The mail server did not take the mail. The text says why, and holds nothing of the mail."""


def send(subject: str, body: str, *, to: Sequence[str], limit: float | None = None) -> None:
    """Hand a plain-text mail to the mail server, within ``limit`` seconds in all (EMAIL_TIMEOUT unless given).

    Raises NotDelivered. The time-outs of a socket hold for each step only: a server that answers slowly,
    letter by letter, could hang us for ever. So the conversation is held in a thread, and cut off.
    """
    limit = limit or settings.EMAIL_TIMEOUT
    connection: Any = get_connection(timeout=limit)
    message = EmailMessage(
        subject=settings.MAIL_SUBJECT_PREFIX + subject,
        body=body,
        from_email=settings.MAIL_FROM,
        to=list(to),
        reply_to=[settings.MAIL_REPLY_TO],
        connection=connection,
    )
    failures: list[str] = []
    given_up = threading.Event()

    def converse() -> None:
        try:
            connection.open()
            if not given_up.is_set():
                message.send()
            connection.close()
        except Exception as error:  # whatever the server or the network does
            failures.append(type(error).__qualname__)

    thread = threading.Thread(target=converse, daemon=True)
    thread.start()
    thread.join(limit)
    if thread.is_alive():
        # Cut off, so that the mail is not delivered after we have said that it was not.
        given_up.set()
        with contextlib.suppress(AttributeError, OSError):
            connection.connection.sock.shutdown(socket.SHUT_RDWR)
        raise NotDelivered(f"the mail server took longer than {limit:.0f} seconds")
    if failures:
        raise NotDelivered(failures[0])
