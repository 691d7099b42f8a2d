"""The old service's database, and builders of what is in it. Each makes the valid case; arguments change it."""

import itertools
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from django.db import connection
from psycopg2 import extras, sql

SCHEMA = Path(__file__).with_name("old_schema.sql").read_text()
PREFIX = "perma_payments_"
TOKEN = "5512345678901234567890"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
BEGAN = datetime(2026, 6, 10, 15, 30, 1, 250_000, tzinfo=UTC)
EXTRA_COLUMNS = {"currency": "USD", "locale": "en-us", "payment_method": "card"}

Values = dict[str, Any]


class OldWorld:
    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._ids = itertools.count(101)
        self._references = itertools.count(10_000_000)

    def rows(self, statement: str, *parameters: Any) -> list[Values]:
        with self.connection.cursor(cursor_factory=extras.RealDictCursor) as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor) if cursor.description else []

    def empty(self) -> None:
        tables = self.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        self.rows("TRUNCATE " + ", ".join(row["table_name"] for row in tables))

    def insert(self, table: str, values: Values) -> Values:
        columns = sql.SQL(", ").join(map(sql.Identifier, values))
        places = sql.SQL(", ").join([sql.Placeholder()] * len(values))
        name = table if table == "auth_user" else PREFIX + table
        with self.connection.cursor() as cursor:
            cursor.execute(
                sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(name), columns, places),
                list(values.values()),
            )
        return values

    def set(self, table: str, row_id: int, column: str = "id", **changes: Any) -> None:
        for name, value in changes.items():
            self.rows(f"UPDATE {PREFIX}{table} SET {name} = %s WHERE {column} = %s", value, row_id)

    def reference(self) -> str:
        digits = str(next(self._references))
        return f"PERMA-{digits[:4]}-{digits[4:]}"

    # --- Agreements -------------------------------------------------------------------------------------

    def agreement(
        self,
        status: str = "Current",
        *,
        request: Values | None = None,
        response: Values | None = None,
        history: list[Values] | None = None,
        without: str = "",
        **changes: Any,
    ) -> int:
        """A monthly subscription of Registrar 7 since June 10; return its id.

        ``request``, ``response`` and ``history`` change these rows; ``without`` can name request or response.
        """
        agreement_id = next(self._ids)
        began = changes.get("created_date", BEGAN)
        unpaid = status in ("Pending", "Rejected", "Aborted")
        terms = {
            "current_frequency": "monthly",
            "current_link_limit": "100",
            "current_rate": Decimal("25.00"),
            "current_link_limit_effective_timestamp": began - timedelta(minutes=2),
            "paid_through": datetime(2026, 12, 1, tzinfo=UTC),
        }
        row = {
            "id": agreement_id,
            "customer_pk": 7,
            "customer_type": "Registrar",
            "status": status,
            "cancellation_requested": False,
            "created_date": began,
            "updated_date": began + timedelta(minutes=5),
            **(dict.fromkeys(terms) if unpaid else terms),
            **changes,
        }
        self.insert("subscriptionagreement", row)
        if "request" not in without:
            sent = self.subscription(agreement_id, began, request or {})
            decision = {"Pending": None, "Rejected": "DECLINE", "Aborted": "CANCEL"}.get(status, "ACCEPT")
            if "response" not in without and not (status == "Pending" and response is None):
                self.response(
                    "subscription",
                    sent,
                    {"decision": decision, "payment_token": "" if unpaid else TOKEN, **(response or {})},
                )
        first = {**row, **dict.fromkeys(terms), "status": "Pending", "cancellation_requested": False}
        steps = [first, *([{"history_date": began + timedelta(minutes=5), **row}] if status != "Pending" else [])]
        for number, step in enumerate([*steps, *({**row, **each} for each in history or [])]):
            self.insert(
                "historicalsubscriptionagreement",
                {
                    "history_id": next(self._ids),
                    "history_date": began,
                    "history_type": "~" if number else "+",
                    "history_change_reason": None,
                    "history_user_id": None,
                    **step,
                },
            )
        return agreement_id

    def subscription(self, agreement_id: int, began: datetime, changes: Values) -> int:
        return self._request(
            "subscription",
            began,
            {
                "reference_number": self.reference(),
                "amount": Decimal("17.50"),
                "recurring_amount": Decimal("25.00"),
                "recurring_frequency": "monthly",
                "recurring_start_date": date(2026, 7, 1),
                "link_limit": "100",
                "link_limit_effective_timestamp": began - timedelta(minutes=2),
                "transaction_type": "sale,create_payment_token",
                "subscription_agreement_id": agreement_id,
                **EXTRA_COLUMNS,
                **changes,
            },
        )

    def change(self, agreement_id: int, at: datetime, decision: str | None = "ACCEPT", **changes: Any) -> int:
        """An upgrade to 500 links."""
        request = self._request(
            "change",
            at,
            {
                "amount": Decimal("30.00"),
                "recurring_amount": Decimal("100.00"),
                "link_limit": "500",
                "link_limit_effective_timestamp": at,
                "transaction_type": "sale,update_payment_token",
                "subscription_agreement_id": agreement_id,
                **changes,
            },
        )
        self.response("change", request, {"decision": decision})
        return request

    def update(self, agreement_id: int, at: datetime, decision: str = "ACCEPT") -> int:
        values = {"transaction_type": "update_payment_token", "subscription_agreement_id": agreement_id}
        request = self._request("update", at, values)
        self.response("update", request, {"decision": decision})
        return request

    def purchase(
        self, *, response: Values | None = None, answered: bool = True, **changes: Any
    ) -> tuple[int, int]:
        """Ten links for Individual 8, paid and acknowledged; return the ids of the request and the response."""
        at = changes.get("created_date", BEGAN)
        request = self._request(
            "purchase",
            at,
            {
                "customer_pk": 8,
                "customer_type": "Individual",
                "created_date": at,
                "amount": Decimal("15.00"),
                "link_quantity": 10,
                "reference_number": self.reference(),
                "transaction_type": "sale",
                **changes,
            },
        )
        if not answered:
            return request, 0
        of_response = {
            "inform_perma": True,
            "perma_acknowledged_at": at + timedelta(minutes=9),
            **(response or {}),
        }
        return request, self.response("purchase", request, of_response)

    def user(self, **changes: Any) -> int:
        user_id = next(self._ids)
        self.insert(
            "auth_user",
            {
                "id": user_id,
                "password": "pbkdf2_sha256$600000$salt$bm90IGEgcGFzc3dvcmQ=",
                "last_login": None,
                "is_superuser": False,
                "username": f"user{user_id}",
                "first_name": "",
                "last_name": "",
                "email": f"user{user_id}@example.com",
                "is_staff": True,
                "is_active": True,
                "date_joined": BEGAN,
                **changes,
            },
        )
        return user_id

    def _request(self, kind: str, at: datetime, values: Values) -> int:
        request = next(self._ids)
        own = {name: values.pop(name) for name in ("transaction_uuid", "request_datetime") if name in values}
        defaults = {"transaction_uuid": str(uuid.uuid4()), "request_datetime": at}
        self.insert("outgoingtransaction", {"id": request, **defaults, **own})
        self.insert(f"{kind}request", {"outgoingtransaction_ptr_id": request, **values})
        return request

    def response(self, kind: str, request: int, values: Values) -> int:
        response = next(self._ids)
        base = {
            "decision": "ACCEPT",
            "reason_code": 100,
            "message": "Request was processed successfully.",
            "full_response": b"sealed",
            "encryption_key_id": 3,
        }
        own = {name: values.get(name, value) for name, value in base.items()}
        self.insert("response", {"id": response, **own})
        rest = {name: value for name, value in values.items() if name not in base}
        self.insert(f"{kind}requestresponse", {"response_ptr_id": response, "related_request_id": request, **rest})
        return response


@pytest.fixture(scope="session")
def old_server(django_db_setup: None) -> Iterator[OldWorld]:
    """A database of its own beside the tests', whose rows other connections see."""
    parameters = connection.get_connection_params()
    parameters.pop("cursor_factory")
    name = f"{connection.settings_dict['NAME']}_old"
    with closing(psycopg2.connect(**{**parameters, "dbname": "postgres"})) as server:
        server.autocommit = True
        with server.cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}"')
            cursor.execute(f'CREATE DATABASE "{name}"')
        with closing(psycopg2.connect(**{**parameters, "dbname": name})) as old:
            old.autocommit = True
            world = OldWorld(old)
            world.rows(SCHEMA)
            yield world
        with server.cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def old(old_server: OldWorld, db: None, settings: Any) -> OldWorld:
    """An empty database of the old service, which import_legacy reads."""
    old_server.empty()
    settings.LEGACY_DATABASE = {**connection.settings_dict, "NAME": f"{connection.settings_dict['NAME']}_old"}
    return old_server
