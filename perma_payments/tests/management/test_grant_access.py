"""The role that the service should have in PostgreSQL: the demo and its end-to-end tests run with it, too."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO

import pgtrigger
import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import DatabaseError, ProgrammingError, connection, transaction
from django.utils import timezone
from pghistory.models import Event

from perma_payments import checks
from perma_payments.management import jobs
from perma_payments.models import (
    JobHeartbeat,
    LoginAttempt,
    PasswordResetRequest,
    StatusReport,
    StatusReportLine,
    UnansweredAcknowledgement,
)
from perma_payments.services import database_role, health, heartbeats

from .. import records
from ..environments import production, settings_of

pytestmark = pytest.mark.django_db

ROLE = "the_service"
NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
MODELS = [model for model in apps.get_models() if model._meta.managed and not model._meta.proxy]
LEDGER = [
    model
    for model in apps.get_app_config("perma_payments").get_models()
    if model not in (LoginAttempt, PasswordResetRequest, UnansweredAcknowledgement, StatusReport, StatusReportLine)
]


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def grant() -> str:
    out = StringIO()
    call_command("grant_access", ROLE, stdout=out)
    return out.getvalue()


@pytest.fixture
def role() -> Iterator[None]:
    """A role that may do what the service does, until the test's transaction is rolled back."""
    sql(f"CREATE ROLE {ROLE}")
    assert grant() == "the_service can do what the service does, and nothing else.\n"
    sql(f"SET LOCAL ROLE {ROLE}")
    yield
    sql("RESET ROLE")


# --- What it may do ---------------------------------------------------------------------------------


def test_it_may_do_what_the_service_does_and_no_more(role):
    assert database_role.lacking() == []
    assert database_role.emptied_by() == []


def test_it_may_record_and_measure_what_monitoring_asks(role):
    for _ in range(2):
        jobs.apply_responses(now=timezone.now())
        heartbeats._written.clear()
    assert JobHeartbeat.objects.get().succeeded_at is not None
    assert [check.name for check in health.Readiness().checks(now=timezone.now()) if not check.is_ok] == [
        "scheduler"  # it has sent no mails yet
    ]


@pytest.mark.parametrize(
    ("privilege", "table"),
    [
        ("ALL", "perma_payments_jobheartbeat"),
        ("UPDATE (ran_at)", "perma_payments_jobheartbeat"),
        ("DELETE", "django_session"),
        ("SELECT", "django_migrations"),
    ],
)
def test_a_right_that_it_lacks_is_noticed(role, monkeypatch, privilege, table):
    """As after a migrate without grant_access."""
    sql("RESET ROLE")
    sql(f"REVOKE {privilege} ON {table} FROM {ROLE}")
    sql(f"SET LOCAL ROLE {ROLE}")

    assert database_role.lacking() == [table]
    if table != "django_migrations":
        (check,) = health.Readiness().checks(now=timezone.now())
        assert (check.name, check.is_ok) == ("rights", False)
    assert warned(monkeypatch) == [
        ("perma_payments.W011", f"The role in DATABASE_URL may not do what the service does to {table}.")
    ]


def test_a_right_that_it_has_too_many_is_noticed(role, monkeypatch):
    assert warned(monkeypatch) == []
    sql("RESET ROLE")
    sql(f"GRANT DELETE ON perma_payments_response TO {ROLE}")
    sql(f"SET LOCAL ROLE {ROLE}")

    assert database_role.emptied_by() == ["perma_payments_response"]
    assert [number for number, _ in warned(monkeypatch)] == ["perma_payments.W012"]


def test_the_owner_is_noticed_outside_of_development(monkeypatch):
    assert [number for number, _ in warned(monkeypatch)] == ["perma_payments.W012"]
    # Nothing asks for the database where none was named, and development runs as the owner.
    assert checks.check_role(None) == []
    monkeypatch.setattr(checks, "settings", settings_of())
    assert checks.check_role(None, databases=["default"]) == []


def warned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, str]]:
    monkeypatch.setattr(checks, "settings", settings_of(**production()))
    return [(warning.id, warning.msg) for warning in checks.check_role(None, databases=["default"])]


# --- What it may not do -----------------------------------------------------------------------------


def assert_denied(statement: str) -> None:
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"), transaction.atomic():
        sql(statement)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.db_table)
def test_no_table_can_be_emptied_or_changed(role, model):
    for statement in ("TRUNCATE {}", "ALTER TABLE {} DISABLE TRIGGER ALL", "DROP TABLE {}"):
        assert_denied(statement.format(model._meta.db_table))


@pytest.mark.parametrize("model", LEDGER, ids=lambda model: model._meta.db_table)
def test_nothing_can_be_deleted_from_the_ledger(role, model):
    assert_denied(f"DELETE FROM {model._meta.db_table}")


def test_what_has_expired_can_be_purged_but_no_confirmed_report(role):
    someone = User.objects.create_user("someone")
    for days in (3, 2):
        StatusReport.objects.create(uploaded_by=someone, uploaded_at=NOW - timedelta(days=days), row_count=1)
    StatusReport.objects.filter(uploaded_at__lt=NOW - timedelta(days=2)).update(state="applied", applied_at=NOW)
    Session.objects.create(session_key="old", expire_date=NOW)
    Session.objects.create(session_key="new", expire_date=NOW + timedelta(seconds=1))

    purged = jobs.purge_expired(now=NOW)
    assert (purged.previews, purged.sessions) == (1, 1)
    with pytest.raises(DatabaseError, match="Cannot delete"), transaction.atomic():
        sql("DELETE FROM perma_payments_statusreport")
    sql("RESET ROLE")


@pytest.mark.parametrize(
    "model", [model for model in MODELS if issubclass(model, Event)], ids=lambda model: model._meta.db_table
)
def test_the_history_can_only_grow(role, model):
    assert_denied(f"UPDATE {model._meta.db_table} SET pgh_label = 'x'")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE perma_payments_monthend SET standing = 0",
        "UPDATE perma_payments_response SET sealed = 'x'",
        "UPDATE perma_payments_response SET decision = 'ACCEPT', outcome = 'took effect'",
        "UPDATE perma_payments_outgoingtransaction SET amount = 0",
        "UPDATE perma_payments_statusreport SET digest = 'x'",
    ],
)
def test_evidence_cannot_be_changed(role, statement):
    assert_denied(statement)


def test_history_is_not_switched_off(role):
    assert_denied("SET session_replication_role = replica")


def test_only_the_owner_switches_triggers_off(role):
    """pgtrigger lets any session do it, so a stolen login could change rows without a trace."""
    agreement = records.agreement()
    with pgtrigger.ignore():
        sql("UPDATE perma_payments_subscriptionagreement SET status = 'Aborted'")
        assert agreement.events.count() == 2

        sql("RESET ROLE")
        sql("UPDATE perma_payments_subscriptionagreement SET status = 'Pending'")
        assert agreement.events.count() == 2


def test_a_temporary_table_does_not_switch_triggers_off(role):
    """PostgreSQL finds it first. This one says that the role owns the function that lets the owner do that."""
    agreement = records.agreement()
    sql("CREATE TEMPORARY TABLE pg_proc (oid oid, proowner oid)")
    sql(
        "INSERT INTO pg_temp.pg_proc SELECT 'public._pgtrigger_should_ignore(name)'::regprocedure, oid "
        f"FROM pg_roles WHERE rolname = '{ROLE}'"
    )
    with pgtrigger.ignore():
        sql("UPDATE perma_payments_subscriptionagreement SET status = 'Aborted'")

    assert agreement.events.count() == 2


def test_a_temporary_table_does_not_take_the_place_of_the_history(role):
    agreement = records.agreement()
    sql(
        "CREATE TEMPORARY TABLE perma_payments_subscriptionagreementevent AS TABLE "
        "perma_payments_subscriptionagreementevent"
    )
    sql("UPDATE perma_payments_subscriptionagreement SET status = 'Aborted'")
    sql("DROP TABLE pg_temp.perma_payments_subscriptionagreementevent")

    assert agreement.events.count() == 2


def test_privileges_that_a_role_had_before_are_taken():
    sql(f"CREATE ROLE {ROLE}")
    sql(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}")
    grant()
    sql(f"SET LOCAL ROLE {ROLE}")

    assert_denied("DELETE FROM perma_payments_response")
    sql("RESET ROLE")


@pytest.mark.parametrize("how", ["SUPERUSER", "IN ROLE {owner}"])
def test_a_role_that_could_do_everything_all_the_same_is_refused(how):
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        (owner,) = cursor.fetchone()
    sql(f"CREATE ROLE {ROLE} {how.format(owner=owner)}")

    with pytest.raises(CommandError, match="could still delete what is in"):
        grant()


def test_the_owner_is_refused_because_it_can_grant_itself_everything_again():
    sql(f"CREATE ROLE {ROLE}")
    sql(f"ALTER TABLE perma_payments_response OWNER TO {ROLE}")

    with pytest.raises(CommandError, match="could still delete what is in"):
        grant()

    # Nor is anything taken from it: migrations need it.
    sql(f"SET LOCAL ROLE {ROLE}")
    sql("DELETE FROM perma_payments_response WHERE false")
    sql("RESET ROLE")


def test_a_role_that_does_not_exist_is_refused():
    with pytest.raises(CommandError, match="There is no role the_service"):
        grant()


def test_only_the_owner_can_grant():
    sql(f"CREATE ROLE {ROLE}")
    sql("CREATE ROLE someone_else")
    sql("SET LOCAL ROLE someone_else")

    with pytest.raises(CommandError, match="Use the role that owns the tables"), transaction.atomic():
        grant()
    sql("RESET ROLE")


def test_a_role_that_may_delete_as_a_member_of_a_group_is_refused():
    sql("CREATE ROLE a_group")
    sql("GRANT DELETE ON perma_payments_response TO a_group")
    sql(f"CREATE ROLE {ROLE} IN ROLE a_group")

    with pytest.raises(CommandError, match="could still delete what is in perma_payments_response"):
        grant()


def test_the_next_numbers_of_rows_cannot_be_set():
    sql(f"CREATE ROLE {ROLE}")
    sql(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {ROLE}")
    grant()
    sql(f"SET LOCAL ROLE {ROLE}")

    assert_denied("SELECT setval('perma_payments_response_id_seq', 1)")
    sql("RESET ROLE")
