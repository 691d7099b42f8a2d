"""Who may see and do what on the staff's side: every address of the admin, asked by everyone.

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


def test_strangers_are_led_to_the_login_page(client, everything):
    responses = [client.get(page.url) for page in pages()]
    assert {(response.status_code, response["Location"].split("?")[0]) for response in responses} == {
        (302, "/admin/login/")
    }


def test_strangers_who_post_get_the_login_page(client, everything):
    before = kept()
    responses = [client.post(page.url, POSTED) for page in pages()]
    assert all(b'action="/admin/login/"' in response.content for response in responses)
    assert kept() == before


@pytest.mark.parametrize("method", ["get", "post"])
def test_users_who_are_not_staff_are_refused(client, everything, method):
    log_in(client, groups.BILLING_STAFF, is_staff=False)
    before = kept()
    assert set(answers(lambda url: getattr(client, method)(url, POSTED)).values()) == {403}
    assert kept() == before


@pytest.mark.parametrize("method", ["get", "post"])
def test_staff_without_a_group_see_nothing(client, everything, method):
    log_in(client, None)
    before = kept()
    found = answers(lambda url: getattr(client, method)(url, POSTED))
    index = Page("changelist", reverse("admin:index"))
    assert found.pop(index) == 200  # with nothing on it
    assert set(found.values()) <= ({302, 403, 404} if method == "get" else {403, 404, 405})
    assert kept() == before


def test_auditors_see_everything(client, everything):
    log_in(client, groups.AUDITORS)
    found = answers(client.get)
    assert {page: status for page, status in found.items() if page.kind in FOR_VIEWING and status != 200} == {}
    # Where only a form may be sent, a reader is led to the page that has it.
    assert {status for page, status in found.items() if page.kind not in FOR_VIEWING} <= {302, 403}


def test_auditors_can_change_nothing(client, everything):
    log_in(client, groups.AUDITORS)
    before = kept()
    found = answers(lambda url: client.post(url, POSTED))
    assert {status for page, status in found.items() if page.kind not in FOR_VIEWING} <= {403}
    assert kept() == before


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


def test_billing_staff_can_add_and_delete_nothing(client, everything):
    log_in(client, groups.BILLING_STAFF)
    before = kept()
    found = {page: client.post(page.url, POSTED).status_code for page in pages() if page.kind in NEVER}
    assert set(found.values()) == {403}
    for model in tables():
        everyone = [str(row.pk) for row in model._default_manager.all()]
        changelist = reverse(f"admin:perma_payments_{model._meta.model_name}_changelist")
        client.post(changelist, {**POSTED, "_selected_action": everyone})
    assert kept() == before


@pytest.mark.parametrize("group", [groups.BILLING_STAFF, groups.AUDITORS])
@pytest.mark.parametrize("table", ["auth_user", "auth_group"])
def test_neither_group_may_view_accounts(client, everything, group, table):
    log_in(client, group)
    assert client.get(reverse(f"admin:{table}_changelist")).status_code == 403


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
