"""How Gunicorn serves. It reads this file if it is started in this directory; options on its command line win."""

import gc
import math
import os
import queue
import select
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from gunicorn import systemd
from gunicorn.workers.sync import SyncWorker

# How many seconds a thread waits for the next bytes of a request, or for a client to take more of the answer.
CLIENT_TIMEOUT = 5


class Worker(SyncWorker):
    """A worker whose threads each take a client, answer its request, and hang up.

    In Gunicorn's worker with threads (gthread), one thread takes all clients and hands them to the others. That
    costs a tenth of the requests, and makes some clients wait twice as long: docs/performance.md.
    """

    alive: bool

    def run(self) -> None:
        """Start the threads, and wait until the worker is told to stop and they have ended. Called by Gunicorn."""
        self.turn = threading.Lock()
        self.last: queue.SimpleQueue[tuple[socket.socket, Any] | None] = queue.SimpleQueue()
        self.listeners: list[socket.socket] = [each.sock for each in self.sockets]
        self.clients = select.poll()
        for listener in self.listeners:
            listener.setblocking(False)
            self.clients.register(listener, select.POLLIN)
        # Signals write to it.
        self.wait_fds = [self.PIPE[0]]
        self.clients.register(self.PIPE[0], select.POLLIN)
        threads = [threading.Thread(target=self.serve, daemon=True) for _ in range(self.cfg.threads)]
        for thread in threads:
            thread.start()

        while self.alive and self.is_parent_alive():
            self.wait(1)
        self.alive = False
        os.write(self.PIPE[1], b".")
        self.close()
        ends_at = time.monotonic() + self.cfg.graceful_timeout
        for thread in threads:
            while thread.is_alive() and time.monotonic() < ends_at:
                self.notify()
                thread.join(1)

    def close(self) -> None:
        """Accept those who have connected. Others are refused at once, or taken by another worker."""
        # Those who connect after the last one was accepted and before the listener is closed are lost. In between,
        # this thread must not wait long for others to let it go on.
        sys.setswitchinterval(1e-5)
        with self.turn:
            for listener in self.listeners:
                with suppress(OSError):  # Nobody waits.
                    while True:
                        self.last.put(listener.accept())
                listener.close()
        for _ in range(self.cfg.threads):
            self.last.put(None)

    def serve(self) -> None:
        """Serve one client after another, until the worker is told to stop. Each thread does."""
        try:
            while accepted := self.next_client():
                client, address = accepted
                client.settimeout(CLIENT_TIMEOUT)
                self.handle(client, client, address)
        except OSError:
            self.log.exception("no client can be accepted")
        finally:
            # If this thread has failed, the whole worker ends, and is replaced.
            self.alive = False

    def next_client(self) -> tuple[socket.socket, Any] | None:
        """Wait for a client to connect. Returns None when the worker stops and nobody is left to be served."""
        with self.turn:
            while self.alive:
                for listener in self.listeners:
                    with suppress(BlockingIOError, ConnectionAbortedError):
                        return listener.accept()
                self.clients.poll()
        return self.last.get()


def processors() -> int:
    """Return how many processors this process may use, rounded up: a container may have a part of the machine."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
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
