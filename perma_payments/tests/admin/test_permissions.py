"""What each group may see and do on the staff's side: every address of our tables. Who may not, attacks/ asks.

The addresses are taken from the admin itself, so that a new one is asked, too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import models
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from perma_payments.admin.login import groups
from perma_payments.billing.transactions import Kind
from perma_payments.models import (
    CheckoutFreeze,
    OutgoingTransaction,
    Purchase,
    Response,
    StaffTask,
    StatusReport,
    SubscriptionAgreement,
)
from perma_payments.services.status_reports.plan import plan_report
from perma_payments.views import middleware

from .. import records
from ..business_center import report

pytestmark = pytest.mark.django_db

TABLES = {CheckoutFreeze, OutgoingTransaction, Purchase, Response, StaffTask, StatusReport, SubscriptionAgreement}

# Of every table, and what a status report would change.
FOR_VIEWING = ("changelist", "change", "history", "csv", "changes_csv")
NEVER = ("add", "delete")

# Enough to pass the forms of the actions that there are.
POSTED = {"note": "x", "reason": "x", "action": "delete_selected", "_selected_action": "1", "post": "yes"}


@dataclass(frozen=True)
class Page:
    """An address of the admin. ``kind`` is the end of its name: changelist, finish, ..."""

    kind: str
    url: str


@pytest.fixture
def everything(call_back: Callable[..., Any]) -> None:
    """One row of each table, at least."""
    agreement = records.standing_agreement(cancellation_requested_at=timezone.now())
    transaction = records.outgoing(Kind.PURCHASE)
    assert call_back(records.form(transaction)).status_code == 200
    StaffTask.objects.create(kind="cancellation", agreement=agreement)
    records.freeze()
    uploader = User.objects.create_user("uploader")
    plan_report(report((agreement, "HOLD")), by=uploader, now=timezone.now())


def log_in(client: Client, group: str | None, *, is_staff: bool = True) -> User:
    user = User.objects.create_user("someone", is_staff=is_staff)
    if group:
        user.groups.add(Group.objects.get(name=group))
    client.force_login(user)
    return user


def tables() -> list[type[models.Model]]:
    return [model for model in admin.site._registry if model._meta.app_label == "perma_payments"]


def pages() -> Iterator[Page]:
    for model in tables():
        row = model._default_manager.first()
        assert row is not None, f"the fixture 'everything' lacks a {model.__name__}"
        prefix = f"{model._meta.app_label}_{model._meta.model_name}_"
        for pattern in admin.site._registry[model].get_urls():
            if pattern.name is None:  # Django's redirect of old addresses
                continue
            args = [row.pk] if pattern.pattern.converters else []
            yield Page(pattern.name.removeprefix(prefix), reverse(f"admin:{pattern.name}", args=args))
    yield Page("changelist", reverse("admin:index"))
    yield Page("changelist", reverse("admin:app_list", args=["perma_payments"]))
    yield Page("changelist", reverse("admin:search"))
    yield Page("changelist", reverse("admin:customer", args=["Registrar", 7]))


def kept() -> dict[str, list[Any]]:
    """All rows of all our tables, and the admin's own history."""
    ours = apps.get_app_config("perma_payments").get_models(include_auto_created=True)
    return {model.__name__: sorted(map(readable, model._base_manager.values())) for model in [*ours, LogEntry]}


def readable(row: dict[str, Any]) -> str:
    return repr({name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()})


def answers(ask: Callable[[str], Any]) -> dict[Page, int]:
    return {page: ask(page.url).status_code for page in pages()}


def of_kind(found: dict[Page, int], *kinds: str) -> set[int]:
    return {status for page, status in found.items() if page.kind in kinds}


def test_the_admin_has_these_tables_and_no_others():
    assert set(admin.site._registry) == TABLES | {User, Group}


def test_all_special_pages_are_visited(everything):
    assert {"finish", "withdraw", "upload", "confirm", "undo", "switch", *FOR_VIEWING} <= {
        page.kind for page in pages()
    }


def test_auditors_see_everything(client, everything):
    log_in(client, groups.AUDITORS)
    found = answers(client.get)
    assert {page: status for page, status in found.items() if page.kind in FOR_VIEWING and status != 200} == {}
    # Where only a form may be sent, a reader is led to the page that has it.
    assert {status for page, status in found.items() if page.kind not in FOR_VIEWING} <= {302, 403}


def test_auditors_are_offered_no_actions(client, everything):
    log_in(client, groups.AUDITORS)
    task = StaffTask.objects.filter(done_at=None).latest("pk")
    page = client.get(reverse("admin:perma_payments_stafftask_change", args=[task.pk])).content.decode()
    assert "Mark as done" not in page
    uploads = client.get(reverse("admin:perma_payments_statusreport_changelist")).content.decode()
    assert reverse("admin:perma_payments_statusreport_upload") not in uploads
    freezes = client.get(reverse("admin:perma_payments_checkoutfreeze_changelist")).content.decode()
    assert reverse("admin:perma_payments_checkoutfreeze_switch") not in freezes


def test_billing_staff_may_view_and_act(client, everything):
    log_in(client, groups.BILLING_STAFF)
    looked = answers(client.get)
    assert {page: status for page, status in looked.items() if page.kind in FOR_VIEWING and status != 200} == {}
    assert of_kind(looked, *NEVER) == {403}
    for_acting = [page.url for page in pages() if page.kind not in (*FOR_VIEWING, *NEVER)]
    assert {client.get(url).status_code for url in for_acting} == {200, 302}
    assert {client.post(url, POSTED).status_code for url in for_acting} == {200, 302}
    # It was reopened afterward.
    assert StaffTask.pgh_event_model.objects.filter(done_by__username="someone").exists()


# --- Time limit -------------------------------------------------------------------------------------


def test_staff_actions_may_take_longer_than_other_requests(client, everything, monkeypatch):
    allowed: list[float] = []
    monkeypatch.setattr(middleware, "allow", allowed.append)
    log_in(client, groups.BILLING_STAFF)
    client.get(reverse("admin:perma_payments_statusreport_upload"))

    assert allowed == [45]


# --- The groups -------------------------------------------------------------------------------------


def codenames(group: str) -> set[str]:
    found = Permission.objects.filter(group__name=group)
    assert {permission.content_type.app_label for permission in found} == {"perma_payments"}
    return {permission.codename for permission in found}


def test_the_groups_have_their_permissions():
    everything_of_ours = set(
        Permission.objects.filter(content_type__app_label="perma_payments").values_list("codename", flat=True)
    )
    views = {name for name in everything_of_ours if name.startswith("view_")}
    corrections = {name for name in everything_of_ours if name.startswith("correct_")}
    assert {f"view_{model._meta.model_name}" for model in TABLES} <= views
    assert codenames("Auditors") == views
    actions = {"upload_statusreport", "change_stafftask", "freeze_checkouts"}
    assert codenames("Billing staff") == views | corrections | actions


def test_migrate_restores_the_groups_and_nothing_else():
    user = User.objects.create_user("someone")
    staff, auditors = Group.objects.get(name="Billing staff"), Group.objects.get(name="Auditors")
    other = Group.objects.create(name="Other")
    a_view = Permission.objects.get(codename="view_purchase")
    other.permissions.add(a_view)
    user.groups.add(staff, other)
    auditors.permissions.add(Permission.objects.get(codename="change_stafftask"))
    staff.permissions.remove(a_view)
    right = codenames("Billing staff") | {"view_purchase"}

    call_command("migrate", verbosity=0)
    call_command("migrate", verbosity=0)
    assert codenames("Billing staff") == right
    assert "change_stafftask" not in codenames("Auditors")
    assert set(other.permissions.all()) == {a_view}
    assert set(user.groups.all()) == {staff, other}
    assert Group.objects.count() == 3


def test_migrate_recreates_a_group_without_members():
    Group.objects.all().delete()
    call_command("migrate", verbosity=0)
    assert codenames("Auditors") < codenames("Billing staff")
    assert not Group.objects.get(name="Billing staff").user_set.exists()


def test_migrate_gives_billing_staff_new_corrections():
    kind = Permission.objects.get(codename="view_purchase").content_type
    Permission.objects.create(codename="correct_something", name="Can correct something", content_type=kind)
    call_command("migrate", verbosity=0)
    assert "correct_something" in codenames("Billing staff") - codenames("Auditors")
