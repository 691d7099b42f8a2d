import django.db.models.deletion
import django.db.models.functions.text
from django.db import migrations, models


# Each of these is done in a transaction of its own, which locks one table. In one for all, its locks would meet those of
# requests in a deadlock, and others could not even read until all indexes were built. If it was stopped (it waits no
# longer than five seconds for a lock), run it again: what is done already is no error.


class AddIndex(migrations.AddIndex):
    atomic = True

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s)", [self.index.name])
            (known,) = cursor.fetchone()
        if known is None:
            super().database_forwards(app_label, schema_editor, from_state, to_state)


class RemoveIndex(migrations.RemoveIndex):
    atomic = True


class AlterField(migrations.AlterField):
    atomic = True


class DropIndexOfForeignKey(migrations.SeparateDatabaseAndState):
    # AlterField would drop the foreign key, too, and add it again: it locks both tables, and reads all rows.
    atomic = True


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('perma_payments', '0002_month_ends'),
    ]

    operations = [
        AddIndex(
            model_name='outgoingtransaction',
            index=models.Index(fields=['kind', 'created_at'], name='transaction_kind'),
        ),
        AddIndex(
            model_name='purchase',
            index=models.Index(fields=['created_at'], name='purchase_created_at'),
        ),
        AddIndex(
            model_name='purchase',
            index=models.Index(fields=['status', 'created_at'], name='purchase_status'),
        ),
        AddIndex(
            model_name='purchase',
            index=models.Index(django.db.models.functions.text.Right('reference_number', 4), name='purchase_last_digits'),
        ),
        AddIndex(
            model_name='response',
            index=models.Index(fields=['received_at'], name='response_received_at'),
        ),
        AddIndex(
            model_name='response',
            index=models.Index(fields=['decision', 'received_at'], name='response_decision'),
        ),
        AddIndex(
            model_name='response',
            index=models.Index(fields=['outcome', 'received_at'], name='response_outcome'),
        ),
        AddIndex(
            model_name='stafftask',
            index=models.Index(fields=['-done_at', 'opened_at'], name='task_in_order'),
        ),
        AddIndex(
            model_name='stafftask',
            index=models.Index(condition=models.Q(('notified_at__isnull', True), ('mail_due_at__isnull', False), _connector='OR'), fields=['opened_at'], name='task_to_be_mailed'),
        ),
        AddIndex(
            model_name='subscriptionagreement',
            index=models.Index(fields=['created_at'], name='agreement_created_at'),
        ),
        AddIndex(
            model_name='subscriptionagreement',
            index=models.Index(fields=['status', 'created_at'], name='agreement_status'),
        ),
        AddIndex(
            model_name='subscriptionagreement',
            index=models.Index(condition=models.Q(('cancellation_requested_at__isnull', False)), fields=['status', 'created_at'], name='agreement_canceling'),
        ),
        AddIndex(
            model_name='subscriptionagreement',
            index=models.Index(condition=models.Q(('status__in', ['Current', 'Hold'])), fields=['status', 'customer_type', 'current_frequency'], include=('current_rate', 'scheduled_rate', 'scheduled_from'), name='agreement_alive'),
        ),
        AddIndex(
            model_name='subscriptionagreement',
            index=models.Index(django.db.models.functions.text.Right('reference_number', 4), name='agreement_last_digits'),
        ),
        RemoveIndex(
            model_name='purchase',
            name='purchase_unacknowledged',
        ),
        AddIndex(
            model_name='purchase',
            index=models.Index(condition=models.Q(('acknowledged_at__isnull', True), ('status', 'Paid')), fields=['customer_type', 'customer_pk', 'id'], name='purchase_unacknowledged'),
        ),
        RemoveIndex(
            model_name='purchase',
            name='purchase_pending',
        ),
        RemoveIndex(
            model_name='stafftask',
            name='task_open',
        ),
        RemoveIndex(
            model_name='stafftask',
            name='task_unnotified',
        ),
        RemoveIndex(
            model_name='subscriptionagreement',
            name='agreement_pending',
        ),
        RemoveIndex(
            model_name='subscriptionagreement',
            name='agreement_token',
        ),
        AlterField(
            model_name='responseevent',
            name='pgh_obj',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='events', to='perma_payments.response'),
        ),
        DropIndexOfForeignKey(
            database_operations=[
                migrations.RunSQL(
                    'DROP INDEX IF EXISTS perma_payments_stafftask_response_id_7fc101b2',
                    'CREATE INDEX perma_payments_stafftask_response_id_7fc101b2 ON perma_payments_stafftask (response_id)',
                ),
            ],
            state_operations=[
                migrations.AlterField(
                    model_name='stafftask',
                    name='response',
                    field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='tasks', to='perma_payments.response'),
                ),
            ],
        ),
        AlterField(
            model_name='stafftaskevent',
            name='pgh_obj',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='events', to='perma_payments.stafftask'),
        ),
        DropIndexOfForeignKey(
            database_operations=[
                migrations.RunSQL(
                    'DROP INDEX IF EXISTS perma_payments_statusreportline_report_id_87855799',
                    'CREATE INDEX perma_payments_statusreportline_report_id_87855799 ON perma_payments_statusreportline (report_id)',
                ),
            ],
            state_operations=[
                migrations.AlterField(
                    model_name='statusreportline',
                    name='report',
                    field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='lines', to='perma_payments.statusreport'),
                ),
            ],
        ),
    ]
