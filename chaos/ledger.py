"""What the service has kept, read by SQL when all is quiet."""

from dataclasses import dataclass
from typing import Any, cast

from .world import Database

Row = dict[str, Any]

AGREEMENTS, PURCHASES, TASKS = "subscriptionagreement", "purchase", "stafftask"

# What must not be there, whatever customers did: for each sentence, a query that counts it.
NEVER = {
    "subscriptions without a checkout": "SELECT count(*) FROM perma_payments_subscriptionagreement a"
    " WHERE NOT EXISTS (SELECT FROM perma_payments_outgoingtransaction"
    " WHERE agreement_id = a.id AND kind = 'subscribe')",
    "purchases without a checkout": "SELECT count(*) FROM perma_payments_purchase p WHERE NOT EXISTS"
    " (SELECT FROM perma_payments_outgoingtransaction t WHERE t.purchase_id = p.id)",
    "responses that match no checkout": "SELECT count(*) FROM perma_payments_response WHERE outgoing_id IS NULL",
    "open tasks about applied responses that were not applied": "SELECT count(*) FROM perma_payments_stafftask k"
    " JOIN perma_payments_response r ON r.id = k.response_id"
    " WHERE k.kind = 'not applied' AND k.done_at IS NULL AND r.applied_at IS NOT NULL",
    "invalid constraints": "SELECT count(*) FROM pg_constraint WHERE NOT convalidated",
}


@dataclass
class Ledger:
    """The rows of each table, and what is wrong with the tables themselves."""

    agreements: list[Row]
    purchases: list[Row]
    transactions: list[Row]
    responses: list[Row]
    tasks: list[Row]
    # Purchases whose acknowledgement was recorded, and perhaps not answered; the scheduler will open a task.
    unanswered: list[int]
    never: dict[str, int]


def read_ledger(database: Database) -> Ledger:
    """Read all of it."""

    def rows(table: str, columns: str = "*") -> list[Row]:
        return cast(list[Row], database.rows(f"SELECT {columns} FROM perma_payments_{table} ORDER BY id"))

    never = {sentence: cast(int, database.ask(query)) for sentence, query in NEVER.items()}
    for table in (AGREEMENTS, PURCHASES, TASKS):
        never[f"rows of {table} that differ from the end of their history"] = _differ_from_history(database, table)
    return Ledger(
        agreements=rows(AGREEMENTS),
        purchases=rows(PURCHASES),
        transactions=rows("outgoingtransaction"),
        responses=rows("response"),
        tasks=rows(TASKS),
        unanswered=[row["purchase_id"] for row in rows("unansweredacknowledgement")],
        never=never,
    )


def _differ_from_history(database: Database, table: str) -> int:
    """How many rows are not what the last event of their history says, in any column that both have."""
    columns = cast(
        list[str],
        database.ask(
            "SELECT array_agg(quote_ident(column_name::text)) FROM information_schema.columns r"
            " WHERE table_name = %s AND EXISTS (SELECT FROM information_schema.columns e"
            " WHERE e.table_name = %s AND e.column_name = r.column_name)",
            f"perma_payments_{table}",
            f"perma_payments_{table}event",
        ),
    )
    row, event = (", ".join(f"{of}.{column}" for column in columns) for of in ("r", "e"))
    return cast(
        int,
        database.ask(
            f"SELECT count(*) FROM perma_payments_{table} r LEFT JOIN LATERAL (SELECT * FROM"
            f" perma_payments_{table}event e WHERE e.pgh_obj_id = r.id ORDER BY e.pgh_id DESC LIMIT 1) e ON true"
            f" WHERE ({row}) IS DISTINCT FROM ({event})"
        ),
    )
