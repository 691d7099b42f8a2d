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
    ]
