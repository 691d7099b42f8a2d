"""The groups that come ready-made: who may look, and who may act."""

from typing import Any

from django.apps import AppConfig
from django.apps.registry import Apps, apps as apps_of_today
from django.contrib.auth.management import create_permissions
from django.db.models import Q

BILLING_STAFF = "Billing staff"
AUDITORS = "Auditors"

LOOK = Q(codename__startswith="view_")
PERMISSIONS = {
    AUDITORS: LOOK,
    BILLING_STAFF: LOOK
    | Q(codename__in=["upload_statusreport", "change_stafftask"])
    | Q(codename__startswith="correct_"),
}


def after_migrate(sender: AppConfig, *, using: str, apps: Apps = apps_of_today, **kwargs: Any) -> None:
    """Give each group what it should have, no more and no less. Other groups, and who is in one, stay as they are.

    Not a migration: permissions are made after all migrations, and a new one should reach its group at once.
    """
    try:
        permissions = apps.get_model("auth", "Permission").objects.using(using)
        groups = apps.get_model("auth", "Group").objects.using(using)
    except LookupError:  # migrated back to before there were any
        return
    # Django's own receiver does the same, but perhaps only after this one.
    create_permissions(sender, verbosity=0, interactive=False, using=using, apps=apps)
    for name, chosen in PERMISSIONS.items():
        group, _ = groups.get_or_create(name=name)
        group.permissions.set(permissions.filter(chosen, content_type__app_label=sender.label))
