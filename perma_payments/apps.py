"""The one app of the project, and Django's admin with the login of this project."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin
from django.db.models.signals import post_migrate


class PermaPaymentsConfig(AppConfig):
    """Registers the system checks, and keeps the ready-made groups right."""

    name = "perma_payments"
    verbose_name = "Perma Payments"
    default = True

    def ready(self) -> None:
        """See Django's AppConfig."""
        from . import checks  # noqa: F401 (importing it registers the checks)
        from .admin.login.groups import after_migrate

        post_migrate.connect(after_migrate, sender=self, dispatch_uid="perma_payments.groups")


class StaffAdminConfig(admin.AdminConfig):
    """Makes ``admin.site`` the one that has our login."""

    default = False
    default_site = "perma_payments.staff_site.StaffSite"
