import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('perma_payments', '0002_month_ends_and_indexes'),
    ]

    # Apart from 0002, because to drop an index keeps others from reading, too, until the transaction ends.
    operations = [
        migrations.RemoveIndex(
            model_name='purchase',
            name='purchase_pending',
        ),
        migrations.RemoveIndex(
            model_name='purchase',
            name='purchase_unacknowledged_before',
        ),
        migrations.RemoveIndex(
            model_name='stafftask',
            name='task_open',
        ),
        migrations.RemoveIndex(
            model_name='stafftask',
            name='task_unnotified',
        ),
        migrations.RemoveIndex(
            model_name='subscriptionagreement',
            name='agreement_pending',
        ),
        migrations.RemoveIndex(
            model_name='subscriptionagreement',
            name='agreement_token',
        ),
        migrations.AlterField(
            model_name='responseevent',
            name='pgh_obj',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='events', to='perma_payments.response'),
        ),
        migrations.AlterField(
            model_name='stafftask',
            name='response',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='tasks', to='perma_payments.response'),
        ),
        migrations.AlterField(
            model_name='stafftaskevent',
            name='pgh_obj',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='events', to='perma_payments.stafftask'),
        ),
        migrations.AlterField(
            model_name='statusreportline',
            name='report',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='lines', to='perma_payments.statusreport'),
        ),
    ]
