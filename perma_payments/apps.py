"""The one app of the project, and Django's admin with the login of this project."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin
from django.core.signals import request_finished
from django.db.models.signals import post_migrate


class PermaPaymentsConfig(AppConfig):
    """Registers the system checks, has the use of keys written, and sets up the ready-made groups."""

    name = "perma_payments"
    verbose_name = "Perma Payments"
    default = True

    def ready(self) -> None:
        from . import checks, request_log  # noqa: F401 (importing the checks registers them)
        from .services import key_uses

        # After the response has been sent, so nobody waits for it.
        request_finished.connect(key_uses.write, dispatch_uid="perma_payments.key_uses")
        request_finished.connect(request_log.forget, dispatch_uid="perma_payments.request_log")

        # The package registers our tables, and so makes admin.site. This app is before Django's admin in
        # INSTALLED_APPS: if Django made the site, the import of its class would register them with another one.
        from .admin.login.groups import after_migrate

        post_migrate.connect(after_migrate, sender=self, dispatch_uid="perma_payments.groups")


class StaffAdminConfig(admin.AdminConfig):
    """Makes ``admin.site`` an instance of our class."""

    default = False
    default_site = "perma_payments.admin.site.StaffSite"
