"""Start the sandbox: `python -m sandbox [--host 127.0.0.1] [--port 8001] [--smtp-port 8025]`."""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from werkzeug.serving import WSGIRequestHandler, make_server

from .app import create_app
from .config import Config, ConfigError
from .mail.mailbox import Mailbox
from .mail.smtp import receiving


class QuietHandler(WSGIRequestHandler):
    """Logs one plain line per request to standard error."""

    def parse_request(self) -> bool:
        """Answer 400 to an address that cannot be parsed; the server itself would fail at it."""
        if not super().parse_request():
            return False
        try:
            urlsplit(self.path)
        except ValueError:
            self.send_error(400, "The request's address is malformed")
            return False
        return True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log a request as `METHOD path status`, without the query."""
        path = getattr(self, "path", "-").partition("?")[0]
        self._line(f"{self.command or '-'} {path} {getattr(code, 'value', code)}")

    def log(self, type: str, message: str, *args: Any) -> None:
        """Log anything else, such as an error, in one line."""
        self._line(message % args if args else message)

    def _line(self, text: str) -> None:
        # Requests must not write control characters to the terminal.
        safe = text.encode("unicode_escape").decode("ascii")
        print(f"{self.log_date_time_string()} {safe}", file=sys.stderr, flush=True)


def _stop(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


class CannotListen(Exception):
    """A port cannot be used: where, and why."""


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises CannotListen."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        # The text of the error itself repeats the address.
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number and number > 0 else str(error)
        raise CannotListen(f"at {host}, port {port} ({reason})") from None


def _serve(host: str, port: int, config: Config) -> None:
    """Serve until interrupted. Raises CannotListen with a sentence."""
    with ExitStack() as stack:
        try:
            listener = stack.enter_context(_listen(host, port))
        except CannotListen as error:
            raise CannotListen(
                f"The sandbox cannot listen {error}; choose another with --host and --port."
            ) from None
        mailbox = Mailbox()
        if config.smtp_port:
            try:
                mail_listener = _listen(host, config.smtp_port)
            except CannotListen as error:
                raise CannotListen(
                    f"The sandbox cannot receive mail {error}; choose another port "
                    f"with --smtp-port, or 0 to receive none."
                ) from None
            stack.enter_context(receiving(mailbox, mail_listener))
        server = make_server(
            host,
            port,
            create_app(config, mailbox=mailbox),
            threaded=True,
            request_handler=QuietHandler,
            fd=listener.fileno(),
        )
        stack.callback(server.server_close)
        print(
            f"The sandbox is at http://{host}:{listener.getsockname()[1]}/ and expects Perma "
            f"Payments at {config.payments_url}/",
            flush=True,
        )
        print(f"It plays Perma.cc's client of {config.perma_client.year}.", flush=True)
        print(f"It receives mail at {mailbox.address}." if mailbox.address else "It receives no mail.", flush=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped by Ctrl-C or SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox", description="Stand-ins for Perma.cc and CyberSource's hosted checkout."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8001, help="port to listen on")
    parser.add_argument(
        "--smtp-port", type=int, help="port to receive mail on, 0 for none (default: SANDBOX_SMTP_PORT, or 8025)"
    )
    options = parser.parse_args(arguments)

    try:
        config = Config.from_environ(os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    if options.smtp_port is not None:
        config = replace(config, smtp_port=options.smtp_port)

    signal.signal(signal.SIGTERM, _stop)
    try:
        _serve(options.host, options.port, config)
    except CannotListen as error:
        print(error, file=sys.stderr)
        return 1
    print("The sandbox has stopped.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
