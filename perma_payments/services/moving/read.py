"""Read the old service's database: in one read-only transaction, so everything is from the same moment.

A row is a dictionary of its columns. A time or a date that Python cannot hold is UNREADABLE.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import psycopg2
from django.db.utils import ConnectionHandler, Error
from psycopg2 import extensions, extras

from ...postgres.base import CONNECT_SECONDS
from ...postgres.problems import describe
from ...postgres.time_limits import within

Row = dict[str, Any]

PREFIX = "perma_payments_"
AGREEMENTS = f"{PREFIX}subscriptionagreement"
HISTORY = f"{PREFIX}historicalsubscriptionagreement"
TRANSACTIONS = f"{PREFIX}outgoingtransaction"
SUBSCRIPTIONS = f"{PREFIX}subscriptionrequest"
CHANGES = f"{PREFIX}changerequest"
UPDATES = f"{PREFIX}updaterequest"
PURCHASES = f"{PREFIX}purchaserequest"
RESPONSES = f"{PREFIX}response"
USERS = "auth_user"
REQUESTS = (SUBSCRIPTIONS, CHANGES, UPDATES, PURCHASES)

_AGREEMENT = (
    "id customer_pk customer_type status cancellation_requested created_date updated_date paid_through "
    "current_frequency current_link_limit current_rate current_link_limit_effective_timestamp"
)
_TERMS = "amount recurring_amount link_limit link_limit_effective_timestamp transaction_type"
# What is read of each table.
COLUMNS = {
    table: columns.split()
    for table, columns in {
        AGREEMENTS: _AGREEMENT,
        HISTORY: f"{_AGREEMENT} history_id history_date history_type history_change_reason history_user_id",
        TRANSACTIONS: "id transaction_uuid request_datetime",
        SUBSCRIPTIONS: f"outgoingtransaction_ptr_id subscription_agreement_id reference_number {_TERMS} "
        "recurring_frequency recurring_start_date",
        CHANGES: f"outgoingtransaction_ptr_id subscription_agreement_id {_TERMS}",
        UPDATES: "outgoingtransaction_ptr_id subscription_agreement_id transaction_type",
        PURCHASES: "outgoingtransaction_ptr_id customer_pk customer_type created_date amount link_quantity "
        "reference_number transaction_type",
        RESPONSES: "id decision reason_code message full_response encryption_key_id",
        f"{SUBSCRIPTIONS}response": "response_ptr_id related_request_id payment_token",
        f"{CHANGES}response": "response_ptr_id related_request_id",
        f"{UPDATES}response": "response_ptr_id related_request_id",
        f"{PURCHASES}response": "response_ptr_id related_request_id inform_perma perma_acknowledged_at",
        USERS: "id password last_login is_superuser username email is_staff is_active date_joined",
    }.items()
}
# Customers that are read at once.
CHUNK = 1_000


class CannotRead(Exception):
    """Why the old database cannot be read, in a sentence."""


class Unreadable:
    """The value of a time or a date that Python cannot hold, such as infinity."""


UNREADABLE = Unreadable()


@dataclass
class OldAgreement:
    """An agreement with its requests, each joined with its response, and its history; the oldest first."""

    row: Row
    subscription: Row | None = None
    changes: list[Row] = field(default_factory=list)
    updates: list[Row] = field(default_factory=list)
    history: list[Row] = field(default_factory=list)


@dataclass
class OldCustomer:
    """A customer's agreements, and purchase requests, each joined with its response; the oldest first."""

    type: str
    pk: int
    agreements: list[OldAgreement] = field(default_factory=list)
    purchases: list[Row] = field(default_factory=list)


class OldDatabase:
    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.naive_columns = self._check_tables()

    def rows(self, sql: str, *parameters: Any) -> list[Row]:
        try:
            with self._connection.cursor(cursor_factory=extras.RealDictCursor) as cursor:
                cursor.execute(sql, parameters or None)
                return list(cursor)
        except psycopg2.Error as error:
            raise CannotRead(f"The old database cannot be read: {describe(error)}.") from None

    def _check_tables(self) -> list[str]:
        """Return the columns whose times have no time zone. Raises CannotRead if a table or column is missing."""
        types = {
            (row["table_name"], row["column_name"]): row["data_type"]
            for row in self.rows(
                "SELECT table_name, column_name, data_type FROM information_schema.columns "
                "WHERE table_schema = ANY(current_schemas(false))"
            )
        }
        wanted = [(table, column) for table, columns in COLUMNS.items() for column in columns]
        if missing := [f"{table}.{column}" for table, column in wanted if (table, column) not in types]:
            raise CannotRead(
                "This is not the old service's database, or the role in LEGACY_DATABASE_URL may not read all of "
                f"it. It has no {', '.join(missing)}."
            )
        return [".".join(each) for each in wanted if types[each] == "timestamp without time zone"]

    def counts(self) -> dict[str, int]:
        """How many rows each table has."""
        return {table: self.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in COLUMNS}

    def statuses(self) -> list[tuple[str, int]]:
        rows = self.rows(f"SELECT status, count(*) AS n FROM {AGREEMENTS} GROUP BY status ORDER BY n DESC, status")
        return [(row["status"], row["n"]) for row in rows]

    def decisions(self) -> list[tuple[str, int]]:
        rows = self.rows(
            f"SELECT coalesce(decision, 'none') AS d, count(*) AS n FROM {RESPONSES} GROUP BY 1 ORDER BY n DESC, d"
        )
        return [(row["d"], row["n"]) for row in rows]

    def users(self) -> list[Row]:
        return self._select(USERS, "ORDER BY id")

    def highest_response_id(self) -> int:
        highest: int = self.rows(f"SELECT coalesce(max(id), 0) AS id FROM {RESPONSES}")[0]["id"]
        return highest

    def reference_numbers(self) -> list[str]:
        """The reference numbers of all subscriptions and purchases."""
        return [
            row["reference_number"]
            for row in self.rows(
                f"SELECT reference_number FROM {SUBSCRIPTIONS} UNION SELECT reference_number FROM {PURCHASES}"
            )
        ]

    def repeated_references(self) -> list[Row]:
        """The subscription requests that share a reference number, with the status of their agreements."""
        return self.rows(
            f"SELECT reference_number, a.id, a.status FROM {SUBSCRIPTIONS} r "
            f"JOIN {AGREEMENTS} a ON a.id = r.subscription_agreement_id WHERE reference_number IN "
            f"(SELECT reference_number FROM {SUBSCRIPTIONS} GROUP BY 1 HAVING count(*) > 1) ORDER BY a.id"
        )

    def repeated_purchase_references(self) -> list[Row]:
        """The purchase requests that share a reference number, and whether each was paid."""
        return self.rows(
            f"SELECT reference_number, r.outgoingtransaction_ptr_id AS id, "
            "coalesce(inform_perma OR perma_acknowledged_at IS NOT NULL, false) AS is_paid "
            f"FROM {PURCHASES} r LEFT JOIN {PURCHASES}response ON related_request_id = outgoingtransaction_ptr_id "
            "WHERE reference_number IN "
            f"(SELECT reference_number FROM {PURCHASES} GROUP BY 1 HAVING count(*) > 1) ORDER BY 2"
        )

    def repeated_uuids(self) -> list[Row]:
        """The transactions that share a uuid, those that were answered first."""
        answered = " UNION ".join(f"SELECT related_request_id FROM {table}response" for table in REQUESTS)
        return self.rows(
            f"SELECT id, transaction_uuid FROM {TRANSACTIONS} WHERE transaction_uuid IN "
            f"(SELECT transaction_uuid FROM {TRANSACTIONS} GROUP BY 1 HAVING count(*) > 1) "
            f"ORDER BY (id IN ({answered})) DESC, id"
        )

    # --- Rows that belong to nothing --------------------------------------------------------------------

    def requests_without_agreement(self, table: str) -> list[int]:
        return self._ids(
            f"SELECT outgoingtransaction_ptr_id AS id FROM {table} r WHERE NOT EXISTS "
            f"(SELECT FROM {AGREEMENTS} a WHERE a.id = r.subscription_agreement_id) ORDER BY 1"
        )

    def responses_without_request(self, table: str, condition: str = "true") -> list[int]:
        return self._ids(
            f"SELECT response_ptr_id AS id FROM {table}response p WHERE ({condition}) AND NOT EXISTS "
            f"(SELECT FROM {table} r WHERE r.outgoingtransaction_ptr_id = p.related_request_id) ORDER BY 1"
        )

    def responses_of_no_kind(self) -> list[int]:
        known = " UNION ALL ".join(f"SELECT response_ptr_id FROM {table}response" for table in REQUESTS)
        return self._ids(f"SELECT id FROM {RESPONSES} WHERE id NOT IN ({known}) ORDER BY 1")

    def transactions_of_no_kind(self) -> list[int]:
        known = " UNION ALL ".join(f"SELECT outgoingtransaction_ptr_id FROM {table}" for table in REQUESTS)
        return self._ids(f"SELECT id FROM {TRANSACTIONS} WHERE id NOT IN ({known}) ORDER BY 1")

    def history_without_agreement(self) -> list[int]:
        return self._ids(
            f"SELECT history_id AS id FROM {HISTORY} h WHERE NOT EXISTS "
            f"(SELECT FROM {AGREEMENTS} a WHERE a.id = h.id) ORDER BY 1"
        )

    def _ids(self, sql: str, *parameters: Any) -> list[int]:
        return [row["id"] for row in self.rows(sql, *parameters)]

    # --- Customers --------------------------------------------------------------------------------------

    def customers(self) -> Iterator[list[OldCustomer]]:
        """Yield all customers with everything that is theirs, some at a time."""
        last = None
        while pks := self._ids(
            f"SELECT customer_pk AS id FROM {AGREEMENTS} WHERE %s::bigint IS NULL OR customer_pk > %s UNION "
            f"SELECT customer_pk FROM {PURCHASES} WHERE %s::bigint IS NULL OR customer_pk > %s "
            f"ORDER BY 1 LIMIT {CHUNK}",
            *[last] * 4,
        ):
            last = pks[-1]
            yield self._with(pks)

    def _with(self, pks: list[int]) -> list[OldCustomer]:
        found: dict[tuple[str, int], OldCustomer] = {}

        def customer(row: Row) -> OldCustomer:
            # The column came later: what has none is a Registrar.
            key = (row["customer_type"] or "Registrar", row["customer_pk"])
            return found.setdefault(key, OldCustomer(*key))

        agreements = {
            row["id"]: OldAgreement(row)
            for row in self._select(AGREEMENTS, "WHERE customer_pk = ANY(%s) ORDER BY created_date, id", pks)
        }
        ids = list(agreements)
        for row in self._requests(SUBSCRIPTIONS, "payment_token", "subscription_agreement_id", ids):
            agreements[row["subscription_agreement_id"]].subscription = row
        for row in self._requests(CHANGES, None, "subscription_agreement_id", ids):
            agreements[row["subscription_agreement_id"]].changes.append(row)
        for row in self._requests(UPDATES, None, "subscription_agreement_id", ids):
            agreements[row["subscription_agreement_id"]].updates.append(row)
        for row in self._select(HISTORY, "WHERE id = ANY(%s) ORDER BY history_date, history_id", ids):
            agreements[row["id"]].history.append(row)
        for agreement in agreements.values():
            customer(agreement.row).agreements.append(agreement)
        for row in self._requests(PURCHASES, "inform_perma, perma_acknowledged_at", "customer_pk", pks):
            customer(row).purchases.append(row)
        return list(found.values())

    def _select(self, table: str, rest: str, *parameters: Any) -> list[Row]:
        return self.rows(f"SELECT {', '.join(COLUMNS[table])} FROM {table} {rest}", *parameters)

    def _requests(self, table: str, of_response: str | None, column: str, keys: Iterable[int]) -> list[Row]:
        """Requests with their transactions and responses; ``response_id`` is null if there is no response."""
        columns = [f"r.{each}" for each in COLUMNS[table]]
        columns += [f"p.{each}" for each in COLUMNS[RESPONSES] if each != "id"]
        return self.rows(
            f"SELECT r.outgoingtransaction_ptr_id AS id, t.transaction_uuid::text, t.request_datetime, "
            f"p.id AS response_id, {', '.join(columns)}{', ' + of_response if of_response else ''} "
            f"FROM {table} r LEFT JOIN {TRANSACTIONS} t ON t.id = r.outgoingtransaction_ptr_id "
            f"LEFT JOIN {table}response k ON k.related_request_id = r.outgoingtransaction_ptr_id "
            f"LEFT JOIN {RESPONSES} p ON p.id = k.response_ptr_id "
            f"WHERE {column} = ANY(%s) ORDER BY t.request_datetime, r.outgoingtransaction_ptr_id",
            list(keys),
        )


@contextmanager
def old_database(config: dict[str, Any]) -> Iterator[OldDatabase]:
    """Connect to the old database, by Django's settings for it. Raises CannotRead."""
    django_connection = ConnectionHandler({"default": {}, "old": config})["old"]
    parameters = django_connection.get_connection_params()
    parameters.pop("cursor_factory")
    # Not for the rest: there is no limit to what it takes to read it all.
    limit = within(float(parameters.get("connect_timeout") or CONNECT_SECONDS))
    try:
        with limit, django_connection.wrap_database_errors:
            connection = psycopg2.connect(**parameters)
    except Error as error:
        raise CannotRead(f"The database in LEGACY_DATABASE_URL cannot be reached: {describe(error)}.") from None
    try:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        # The types timestamp, timestamptz, and date.
        extensions.register_type(extensions.new_type((1114, 1184), "MOMENT", _moment), connection)
        extensions.register_type(extensions.new_type((1082,), "DAY", _day), connection)
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'; SET datestyle = 'ISO'")
        yield OldDatabase(connection)
    finally:
        connection.close()


def _moment(text: Any, cursor: Any) -> datetime | Unreadable | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        # A time without a time zone is taken to be in UTC.
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return UNREADABLE


def _day(text: Any, cursor: Any) -> date | Unreadable | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return UNREADABLE
