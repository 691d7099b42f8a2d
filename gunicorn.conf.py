"""How Gunicorn serves. It reads this file if it is started in this directory; options on its command line win."""

import gc
import math
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from gunicorn import systemd
from gunicorn.workers.gthread import TConn, ThreadWorker


class Worker(ThreadWorker):
    """A worker that serves everyone who had connected when it was told to stop, and waits for no client.

    Gunicorn's own finishes what it has accepted, and drops those who still wait to be accepted. And before it
    accepts anyone else, it waits up to two seconds for each client that has its answer to hang up.
    """

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """Called when a client that has its answer sends another request, or hangs up."""
        if not _has_hung_up(client):
            super().on_client_socket_readable(conn, client)
            return
        # As most do. Gunicorn would have a thread find that out.
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self.nr_conns -= 1
        conn.close()

    def handle(self, conn: TConn) -> Any:
        """Called in a thread for each request. Returns False to end the connection."""
        goes_on = super().handle(conn)
        if goes_on is False:
            # Wait here, where it holds up one thread. Gunicorn would close the connection where it accepts others.
            conn.close(graceful=True)
            conn.close = _is_closed
        return goes_on

    def set_accept_enabled(self, enabled: bool) -> None:
        """Called before each wait for connections, and when the worker stops."""
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                accepted = -1
                # No more than it ever has: others may go on to connect, faster than it accepts.
                while accepted != self.nr_conns and self.nr_conns < self.worker_connections:
                    accepted = self.nr_conns
                    self.accept(listener)  # None, if nobody waits.
                listener.close()
            self.sockets = []


def _has_hung_up(client: socket.socket) -> bool:
    """Whether there will be nothing more from a client of which there is something."""
    try:
        return not client.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def _is_closed(graceful: bool = False) -> None:
    """What closes a connection that has been closed."""


def processors() -> int:
    """Return how many processors this process may use, rounded up: a container may have a part of the machine."""
    usable = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):  # another version of cgroups, or no limit ("max")
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        usable = min(usable, math.ceil(int(quota) / int(period)))
    return usable


wsgi_app = "perma_payments.wsgi"
worker_class = Worker
# Its lines look like the service's own.
logger_class = "perma_payments.gunicorn_logs.Logger"

# Each worker handles as many requests at once as it has threads, and each thread holds a connection to PostgreSQL.
# docs/performance.md compares kinds and numbers of workers. While one is replaced, another must be there.
workers = int(os.environ.get("WEB_CONCURRENCY") or max(2, processors()))
threads = 4
# Seconds without a sign of life after which a worker is replaced. Requests have limits of their own.
timeout = 30
# For what a worker that stops has begun. A page of the admin may take 45 seconds.
graceful_timeout = 50
# Longer than what a load balancer or nginx keeps a connection for (60 seconds), so that they never send a request
# into one that is being closed.
keepalive = 75

# Nobody's headers are believed here: Django reads X-Forwarded-Proto and X-Forwarded-For, as the settings say.
forwarded_allow_ips = ""
# It would be in the home of the account, the same for all servers.
control_socket_disable = True

# Gunicorn tells systemd that it is ready before it has loaded the service. Here, a worker that has loaded it says
# so, and a restart of one web server after the other goes on to the next only then.
systemds_address = os.environ.pop("NOTIFY_SOCKET", None)


def post_worker_init(worker: Any) -> None:
    """Called in each worker when it has loaded the service."""
    # What is loaded stays. Looking through it for garbage again and again would take a tenth of a worker's time.
    gc.collect()
    gc.freeze()
    if systemds_address:
        os.environ["NOTIFY_SOCKET"] = systemds_address
        systemd.sd_notify("READY=1", worker.log, unset_environment=True)
