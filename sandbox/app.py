"""The sandbox's web application: both halves, the mailbox, the landing page, and the traffic."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flask import Flask, abort, jsonify, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from .config import Config
from .cybersource.views import create_blueprint as create_cybersource
from .mail.mailbox import Mailbox
from .mail.views import create_blueprint as create_mail
from .perma.views import create_blueprint as create_perma
from .traffic import TrafficLog

MAX_REQUEST_BYTES = 256 * 1024
TRAFFIC_PAGE_ENTRIES = 100


def _utc_now() -> datetime:
    return datetime.now(UTC)


def create_app(config: Config, clock: Callable[[], datetime] = _utc_now, mailbox: Mailbox | None = None) -> Flask:
    """Make a sandbox, with a state of its own that ends with it.

    `clock` gives the time in UTC. `mailbox` is the one that receives its mail.
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.jinja_env.policies["json.dumps_kwargs"] = {"sort_keys": False}
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    traffic = TrafficLog()
    app.register_blueprint(create_perma(config, traffic, clock))
    app.register_blueprint(create_cybersource(config, traffic, clock))
    app.register_blueprint(create_mail(mailbox or Mailbox()))

    @app.context_processor
    def of_every_page() -> dict[str, Any]:
        return {"perma_client": config.perma_client}

    @app.get("/")
    def landing() -> Any:
        return render_template("landing.html", payments_url=config.payments_url)

    @app.get("/traffic/")
    def show_traffic() -> Any:
        entries = traffic.entries()[::-1]
        return render_template("traffic.html", entries=entries[:TRAFFIC_PAGE_ENTRIES], total=len(entries))

    @app.get("/traffic.json")
    def traffic_json() -> Any:
        """The entries after the one with the id `after`, oldest first."""
        after = request.args.get("after", "0")
        if not (after.isascii() and after.isdigit() and len(after) <= 18):
            abort(400, "after must be the id of an entry, a whole number.")
        return jsonify([entry.as_json() for entry in traffic.entries(int(after))])

    @app.errorhandler(HTTPException)
    def show_error(error: HTTPException) -> Any:
        """Answer every refusal with a page and a sentence. Redirects stay as they are."""
        if error.code is None or error.code < 400 or error.response is not None:
            return error
        headers = [
            (name, value)
            for name, value in error.get_headers()
            if name.lower() not in ("content-type", "content-length")
        ]
        return render_template("error.html", error=error), error.code, headers

    @app.after_request
    def harden(response: Response) -> Response:
        response.headers.setdefault(
            "Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; "
            "frame-ancestors 'none'",
        )
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        # Every page shows live state, and its forms can be used once.
        if request.endpoint != "static":
            response.headers["Cache-Control"] = "no-store"
        return response

    return app
