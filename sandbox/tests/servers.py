"""Real servers for tests: any WSGI application on a free port, for as long as a block runs."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from werkzeug.serving import WSGIRequestHandler, make_server


class SilentHandler(WSGIRequestHandler):
    """Logs nothing."""

    def log(self, type, message, *args):
        """Log nothing."""


@contextmanager
def serving(app) -> Iterator[str]:
    """Serve a WSGI application; the value is its address, without a slash at the end."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=SilentHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def any_listener() -> socket.socket:
    """A socket that listens at a free port, for who takes it over."""
    return socket.create_server(("127.0.0.1", 0))
