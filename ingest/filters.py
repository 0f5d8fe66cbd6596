"""What lists can be narrowed down by."""

import django_filters
from django.db.models import QuerySet

from migration_console.filtering import Flag, Number, Several, Strict, storable

from .models import Dataset, Run, Status


class RunFilter(Strict):
    """Runs by dataset, status, trigger, key, parent and time."""

    dataset = django_filters.CharFilter(field_name="dataset__name")
    status = Several(choices=Status.choices)
    trigger = django_filters.CharFilter()
    key = django_filters.CharFilter(lookup_expr="contains", label="a part of the key")
    parent = Number(field_name="parent_id", min_value=1, max_value=2**63 - 1)
    ended = Flag(field_name="closed_at", lookup_expr="isnull", exclude=True)
    rejects = Flag(method="with_rejects", label="whether rows were rejected")
    since = django_filters.IsoDateTimeFilter(field_name="received_at", lookup_expr="gte", validators=[storable])
    before = django_filters.IsoDateTimeFilter(field_name="received_at", lookup_expr="lt", validators=[storable])

    class Meta:
        model = Run
        fields: list[str] = []

    def with_rejects(self, queryset: QuerySet[Run], _name: str, value: bool) -> QuerySet[Run]:
        """Keep runs with rejects, or those without."""
        return queryset.filter(rejected__gt=0) if value else queryset.filter(rejected=0)


class DatasetFilter(Strict):
    """Datasets by table and whether they are paused."""

    table = django_filters.CharFilter()
    paused = Flag()

    class Meta:
        model = Dataset
        fields: list[str] = []
