"""A merchant that accepts what CyberSource delivers, at a real address, and answers as configured."""

import threading
from urllib.parse import parse_qsl

from werkzeug.wrappers import Request, Response


class FakeMerchant:
    """A WSGI application. `responses` holds the fields of each delivery, `bodies` the raw bodies,
    `answer` what it answers with. It answers no status call."""

    def __init__(self):
        self.answer = Response("OK")
        self.paths = []
        self.content_types = []
        self.bodies = []
        self.arrived = threading.Condition()

    @property
    def responses(self):
        """The fields of each delivery, oldest first."""
        return [
            dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True))
            for body in self.bodies
        ]

    def wait_for(self, count):
        """Wait until so many deliveries have come."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.bodies) >= count, timeout=30)

    def __call__(self, environ, start_response):
        """Take a delivery."""
        request = Request(environ)
        with self.arrived:
            self.paths.append(f"{request.method} {request.path}")
            self.content_types.append(request.content_type)
            self.bodies.append(request.get_data())
            self.arrived.notify_all()
        answer = self.answer(request) if not isinstance(self.answer, Response) else self.answer
        return answer(environ, start_response)
