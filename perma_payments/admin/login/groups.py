"""The ready-made groups: auditors, who may look, and billing staff, who may also act."""

from typing import Any

from django.apps import AppConfig
from django.apps.registry import Apps, apps as current_apps
from django.contrib.auth.management import create_permissions
from django.db.models import Q

BILLING_STAFF = "Billing staff"
AUDITORS = "Auditors"

VIEW = Q(codename__startswith="view_")
PERMISSIONS = {
    AUDITORS: VIEW,
    BILLING_STAFF: VIEW
    | Q(codename__in=["upload_statusreport", "change_stafftask", "freeze_checkouts"])
    | Q(codename__startswith="correct_"),
}


def after_migrate(sender: AppConfig, *, using: str, apps: Apps = current_apps, **kwargs: Any) -> None:
    """Give each group exactly its permissions. Its members and other groups stay as they are.

    This is not a migration, because permissions are made after all migrations, and new ones should be included.
    """
    try:
        permissions = apps.get_model("auth", "Permission").objects.using(using)
        groups = apps.get_model("auth", "Group").objects.using(using)
    except LookupError:  # migrated back to before they existed
        return
    # Django's own receiver does the same, but may run after this one.
    create_permissions(sender, verbosity=0, interactive=False, using=using, apps=apps)
    for name, condition in PERMISSIONS.items():
        group, _ = groups.get_or_create(name=name)
        group.permissions.set(permissions.filter(condition, content_type__app_label=sender.label))
