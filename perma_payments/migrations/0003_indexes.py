"""Indexes, built while the service reads and writes.

Each step is a transaction of its own, and waits for those that began before it. If one fails, run ``migrate`` again:
it begins from the start.
"""

import django.db.models.functions.text
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models
from django.db.models.deletion import DO_NOTHING, PROTECT

NEW = [
    ("outgoingtransaction", models.Index(fields=["kind", "created_at"], name="transaction_kind")),
    ("purchase", models.Index(fields=["created_at"], name="purchase_created_at")),
    ("purchase", models.Index(fields=["status", "created_at"], name="purchase_status")),
    ("purchase", models.Index(condition=models.Q(("acknowledged_at__isnull", True), ("status", "Paid")), fields=["customer_type", "customer_pk", "id"], name="purchase_to_acknowledge")),
    ("purchase", models.Index(django.db.models.functions.text.Right("reference_number", 4), name="purchase_last_digits")),
    ("response", models.Index(fields=["received_at"], name="response_received_at")),
    ("response", models.Index(fields=["decision", "received_at"], name="response_decision")),
    ("response", models.Index(fields=["outcome", "received_at"], name="response_outcome")),
    ("stafftask", models.Index(fields=["-done_at", "opened_at"], name="task_in_order")),
    ("stafftask", models.Index(condition=models.Q(("notified_at__isnull", True), ("mail_due_at__isnull", False), _connector="OR"), fields=["opened_at"], name="task_to_be_mailed")),
    ("subscriptionagreement", models.Index(fields=["created_at"], name="agreement_created_at")),
    ("subscriptionagreement", models.Index(fields=["status", "created_at"], name="agreement_status")),
    ("subscriptionagreement", models.Index(condition=models.Q(("cancellation_requested_at__isnull", False)), fields=["status", "created_at"], name="agreement_canceling")),
    ("subscriptionagreement", models.Index(condition=models.Q(("status__in", ["Current", "Hold"])), fields=["status", "customer_type", "current_frequency"], include=("current_rate", "scheduled_rate", "scheduled_from"), name="agreement_alive")),
    ("subscriptionagreement", models.Index(django.db.models.functions.text.Right("reference_number", 4), name="agreement_last_digits")),
]

# Foreign keys whose index nothing needs, and that index. AlterField would drop the keys as well and add them again,
# which locks both tables, and reads them.
FOREIGN_KEYS = [
    (
        "responseevent",
        "pgh_obj",
        models.ForeignKey(db_constraint=False, db_index=False, on_delete=DO_NOTHING, related_name="events", to="perma_payments.response"),
        "perma_payments_responseevent_pgh_obj_id_55f62c4c",
    ),
    (
        "stafftask",
        "response",
        models.ForeignKey(blank=True, db_index=False, null=True, on_delete=PROTECT, related_name="tasks", to="perma_payments.response"),
        "perma_payments_stafftask_response_id_7fc101b2",
    ),
    (
        "stafftaskevent",
        "pgh_obj",
        models.ForeignKey(db_constraint=False, db_index=False, on_delete=DO_NOTHING, related_name="events", to="perma_payments.stafftask"),
        "perma_payments_stafftaskevent_pgh_obj_id_127a6223",
    ),
    (
        "statusreportline",
        "report",
        models.ForeignKey(db_index=False, on_delete=PROTECT, related_name="lines", to="perma_payments.statusreport"),
        "perma_payments_statusreportline_report_id_87855799",
    ),
]


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("perma_payments", "0002_month_ends"),
    ]

    operations = [
        *(
            operation
            for model, index in NEW
            for operation in (
                # What is left of an attempt that failed.
                migrations.RunSQL(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}", migrations.RunSQL.noop),
                AddIndexConcurrently(model, index),
            )
        ),
        # Not before the new ones are there.
        RemoveIndexConcurrently("purchase", "purchase_pending"),
        RemoveIndexConcurrently("purchase", "purchase_unacknowledged"),
        RemoveIndexConcurrently("stafftask", "task_open"),
        RemoveIndexConcurrently("stafftask", "task_unnotified"),
        RemoveIndexConcurrently("subscriptionagreement", "agreement_pending"),
        RemoveIndexConcurrently("subscriptionagreement", "agreement_token"),
        *(
            migrations.SeparateDatabaseAndState(
                [
                    migrations.RunSQL(
                        f"DROP INDEX CONCURRENTLY IF EXISTS {index}",
                        f"CREATE INDEX CONCURRENTLY {index} ON perma_payments_{model} ({name}_id)",
                    )
                ],
                [migrations.AlterField(model, name, field)],
            )
            for model, name, field, index in FOREIGN_KEYS
        ),
    ]
