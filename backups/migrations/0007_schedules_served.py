from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('backups', '0006_restores_by_table'),
    ]

    operations = [
        migrations.AddField(
            model_name='listedtable',
            name='backed_up_until',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='listedtable',
            name='rehearsed_until',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
    ]
