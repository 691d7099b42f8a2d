"""Gunicorn's own lines in the format of the service's: ``--logger-class perma_payments.gunicorn_logs.Logger``.

This is for its master process. It must not load the settings, nor the file ``.env`` into its environment: workers
inherit that, so a reload (HUP) would not see what has changed in the file. In a worker, LOGGING holds.
"""

import os
from pathlib import Path

from dotenv import dotenv_values
from gunicorn import glogging

from .logs import GunicornsLines, JsonFormatter, NoValuesFormatter

ENV_FILE = Path(__file__).resolve().parent.parent / ".env"


class Logger(glogging.Logger):  # type: ignore[misc]
    """Gunicorn's, with our formatter."""

    def setup(self, cfg: object) -> None:
        """See glogging.Logger: called at the start, and at each reload."""
        super().setup(cfg)
        variables = {**dotenv_values(ENV_FILE), **os.environ}
        in_development = (variables.get("PERMA_PAYMENTS_ENV") or "development") == "development"
        as_json = (variables.get("LOG_FORMAT") or ("text" if in_development else "json")) == "json"
        formatter = (JsonFormatter if as_json else NoValuesFormatter)(
            "{asctime} {levelname} {name}: {message}", style="{"
        )
        for handler in self.error_log.handlers:
            handler.setFormatter(formatter)
            handler.addFilter(GunicornsLines())
