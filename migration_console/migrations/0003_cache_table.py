"""The table of the shared cache: `migrate` makes all that the console needs."""

from django.core.management import call_command
from django.db import migrations


def create(apps, schema_editor):
    """Create the table unless it is there."""
    call_command("createcachetable", database=schema_editor.connection.alias, verbosity=0)


class Migration(migrations.Migration):

    dependencies = [("migration_console", "0002_metrics_and_cache")]
    # Run outside the migration's transaction: MySQL commits at CREATE TABLE anyway.
    atomic = False
    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
