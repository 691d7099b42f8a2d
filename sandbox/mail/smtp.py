"""Receives mail over SMTP, in a thread of its own, as long as a block runs."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet

from aiosmtpd.smtp import SMTP, Envelope, Session

from .mailbox import Mailbox, Mode

MAX_MAIL_BYTES = 1_000_000
TIMEOUT_SECONDS = 60
SLOW_SECONDS = 12
SECONDS_PER_BYTE = 0.5


class _Handler:
    """Puts mail into the mailbox or refuses it, according to the mailbox's mode."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._mailbox.mode is Mode.REFUSES_SOME and envelope.rcpt_tos:
            return "550 5.1.1 Only the first recipient is accepted, as configured"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self._mailbox.mode is Mode.HANGS_AT_QUIT:
            await asyncio.sleep(TIMEOUT_SECONDS)
        return "221 2.0.0 Bye"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self._mailbox.mode is Mode.REFUSES:
            return "451 4.3.0 No mail is accepted now, as configured; try again later"
        if self._mailbox.mode is Mode.FORGETS:
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
            return "421 4.3.0 Nobody hears this"
        content = envelope.content or b""
        self._mailbox.put(
            content if isinstance(content, bytes) else content.encode("utf-8", "replace"), envelope.rcpt_tos
        )
        if self._mailbox.mode is Mode.SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        if self._mailbox.mode is Mode.SILENT:
            await asyncio.sleep(2 * TIMEOUT_SECONDS)
        return "250 2.0.0 Accepted"


class _Dripping(SMTP):
    """Answers one byte at a time."""

    async def push(self, status: str | bytes) -> None:
        """Send an answer, slowly."""
        line = status.encode("utf-8") if isinstance(status, str) else status
        for byte in line + b"\r\n":
            self._writer.write(bytes([byte]))
            await self._writer.drain()
            await asyncio.sleep(SECONDS_PER_BYTE)


class _Silent(asyncio.Protocol):
    """Accepts everything and never says a word."""

    transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport


@contextmanager
def receiving(mailbox: Mailbox, listener: socket.socket) -> Iterator[None]:
    """Receive mail on a listening socket, which is closed at the end."""
    loop = asyncio.new_event_loop()
    handler = _Handler(mailbox)
    protocols: WeakSet[SMTP | _Silent] = WeakSet()

    def protocol() -> SMTP | _Silent:
        mailbox.conversations[mailbox.mode] += 1
        new = (
            _Silent()
            if mailbox.mode is Mode.HANGS
            else (_Dripping if mailbox.mode is Mode.DRIPS else SMTP)(
                handler,
                hostname="sandbox",
                ident="the sandbox",
                loop=loop,
                enable_SMTPUTF8=True,
                data_size_limit=MAX_MAIL_BYTES,
                timeout=TIMEOUT_SECONDS,
            )
        )
        protocols.add(new)
        return new

    server = loop.run_until_complete(loop.create_server(protocol, sock=listener))
    host, port = listener.getsockname()[:2]
    mailbox.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    thread = threading.Thread(target=loop.run_forever, name="mail", daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(_hang_up(protocols))
        loop.close()


async def _hang_up(protocols: WeakSet[SMTP | _Silent]) -> None:
    """End all conversations, and let the loop close their sockets."""
    for protocol in list(protocols):
        if isinstance(protocol.transport, asyncio.WriteTransport):
            protocol.transport.abort()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
