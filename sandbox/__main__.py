"""Start the sandbox: `python -m sandbox [--host 127.0.0.1] [--port 8001]`."""
from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from werkzeug.serving import WSGIRequestHandler, make_server

from .app import create_app
from .config import Config, ConfigError


class QuietHandler(WSGIRequestHandler):
    """Logs one plain line per request, to standard error."""

    def parse_request(self) -> bool:
        """Refuse, with 400, an address that cannot be taken apart; the server would fail at it."""
        if not super().parse_request():
            return False
        try:
            urlsplit(self.path)
        except ValueError:
            self.send_error(400, 'The address of the request is no address')
            return False
        return True

    def log_request(self, code: int | str = '-', size: int | str = '-') -> None:
        """Log a request as `METHOD path status`, without the query."""
        path = getattr(self, 'path', '-').partition('?')[0]
        self._line(f'{self.command or "-"} {path} {getattr(code, "value", code)}')

    def log(self, type: str, message: str, *args: Any) -> None:
        """Log anything else, such as an error, in one line."""
        self._line(message % args if args else message)

    def _line(self, text: str) -> None:
        # What came from outside must not write control characters to the terminal.
        safe = text.encode('unicode_escape').decode('ascii')
        print(f'{self.log_date_time_string()} {safe}', file=sys.stderr, flush=True)


def _stop(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped by Ctrl-C or SIGTERM; the result is the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m sandbox',
        description='Stand-ins of Perma.cc and of CyberSource\'s hosted checkout.')
    parser.add_argument('--host', default='127.0.0.1', help='address to listen at')
    parser.add_argument('--port', type=int, default=8001, help='port to listen at')
    options = parser.parse_args(arguments)

    try:
        config = Config.from_environ(os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1

    signal.signal(signal.SIGTERM, _stop)
    try:
        family = socket.AF_INET6 if ':' in options.host else socket.AF_INET
        listener = socket.create_server((options.host, options.port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        # The text of the error itself repeats the address.
        number = getattr(error, 'errno', None)
        reason = os.strerror(number) if number and number > 0 else str(error)
        print(f'The sandbox cannot listen at {options.host}, port {options.port} ({reason}); '
              f'choose another with --host and --port.', file=sys.stderr)
        return 1

    with listener:
        server = make_server(
            options.host, options.port, create_app(config), threaded=True,
            request_handler=QuietHandler, fd=listener.fileno())
        port = listener.getsockname()[1]
        print(f'The sandbox is at http://{options.host}:{port}/ and expects Perma Payments at '
              f'{config.payments_url}/', flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            server.server_close()
    print('The sandbox has stopped.', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
