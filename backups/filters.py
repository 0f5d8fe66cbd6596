"""What lists of backups can be narrowed down by."""

import django_filters

from migration_console.filtering import Several, Strict

from .models import Backup, BackupStatus


class BackupFilter(Strict):
    """Backups by table and status."""

    table = django_filters.CharFilter()
    status = Several(choices=BackupStatus.choices)

    class Meta:
        model = Backup
        fields: list[str] = []
