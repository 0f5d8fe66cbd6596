"""What lists can be narrowed down by."""

import django_filters
from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from .models import Dataset, Run, Status

PAGING = {"cursor", "page_size"}


class Strict(django_filters.FilterSet):  # type: ignore[misc]  # django-filter has no types
    """Refuses what it does not know: a filter with a typing error must not show everything."""

    request: Request

    def filter_queryset(self, queryset: QuerySet[Run]) -> QuerySet[Run]:
        """Filter, if every name is known."""
        if unknown := set(self.request.query_params) - set(self.filters) - PAGING:
            known = ", ".join(sorted({*self.filters, *PAGING}))
            raise ValidationError({name: [f"There is no such filter; there are {known}."] for name in unknown})
        found: QuerySet[Run] = super().filter_queryset(queryset)
        return found


class RunFilter(Strict):
    """Runs by dataset, status, trigger, key, parent and time."""

    dataset = django_filters.CharFilter(field_name="dataset__name")
    status = django_filters.MultipleChoiceFilter(choices=Status.choices)
    trigger = django_filters.CharFilter()
    key = django_filters.CharFilter(lookup_expr="contains", label="a part of the key")
    parent = django_filters.NumberFilter(field_name="parent_id", min_value=1, max_value=2**63 - 1)
    ended = django_filters.BooleanFilter(field_name="closed_at", lookup_expr="isnull", exclude=True)
    rejects = django_filters.BooleanFilter(method="with_rejects", label="whether rows were rejected")
    since = django_filters.IsoDateTimeFilter(field_name="received_at", lookup_expr="gte")
    before = django_filters.IsoDateTimeFilter(field_name="received_at", lookup_expr="lt")

    class Meta:
        model = Run
        fields: list[str] = []

    def with_rejects(self, queryset: QuerySet[Run], _name: str, value: bool) -> QuerySet[Run]:
        """Keep runs with rejects, or those without."""
        return queryset.filter(rejected__gt=0) if value else queryset.filter(rejected=0)


class DatasetFilter(Strict):
    """Datasets by table and whether they are paused."""

    table = django_filters.CharFilter()
    paused = django_filters.BooleanFilter()

    class Meta:
        model = Dataset
        fields: list[str] = []
