"""How Gunicorn serves. It reads this file if it is started in this directory; options on its command line win."""

import os
from typing import Any

from gunicorn import systemd
from gunicorn.workers.gthread import ThreadWorker


class Worker(ThreadWorker):
    """A worker that serves everyone who had connected when it was told to stop.

    Gunicorn's own finishes what it has accepted, and drops those who still wait to be accepted.
    """

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


wsgi_app = "perma_payments.wsgi"
worker_class = Worker
# Its lines look like the service's own.
logger_class = "perma_payments.gunicorn_logs.Logger"

# Each worker handles as many requests at once as it has threads, and each thread holds a connection to PostgreSQL.
workers = int(os.environ.get("WEB_CONCURRENCY") or os.cpu_count() or 1)
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
    if systemds_address:
        os.environ["NOTIFY_SOCKET"] = systemds_address
        systemd.sd_notify("READY=1", worker.log, unset_environment=True)
