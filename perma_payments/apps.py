"""The one app of the project."""
from django.apps import AppConfig


class PermaPaymentsConfig(AppConfig):
    """Registers the system checks."""

    name = "perma_payments"
    verbose_name = "Perma Payments"

    def ready(self) -> None:
        """See Django's AppConfig."""
        from . import checks  # noqa: F401 (importing it registers the checks)
