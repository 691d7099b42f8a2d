import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('perma_payments', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='MonthEnd',
            fields=[
                ('month', models.DateField(help_text='Its first day.', primary_key=True, serialize=False)),
                ('standing', models.PositiveIntegerField()),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.AddConstraint(
            model_name='monthend',
            constraint=models.CheckConstraint(condition=models.Q(('month__day', 1)), name='month_end_of_month'),
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
