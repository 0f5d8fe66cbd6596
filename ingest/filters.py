"""What lists can be narrowed down by."""

from datetime import UTC, datetime

import django_filters
from django import forms
from django.core import exceptions
from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from .models import Dataset, Run, Status

PAGING = {"cursor", "page_size"}


Flag, Several = django_filters.BooleanFilter, django_filters.MultipleChoiceFilter


def storable(moment: datetime) -> None:
    """Refuse a moment that is none in UTC."""
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise exceptions.ValidationError("Enter a valid date/time.", "invalid") from None


@extend_schema_field(OpenApiTypes.INT64)
class Number(django_filters.NumberFilter):  # type: ignore[misc]  # django-filter has no types
    """A whole number."""

    field_class = forms.IntegerField


class Strict(django_filters.FilterSet):  # type: ignore[misc]  # django-filter has no types
    """Refuses what it does not know: a filter with a typing error must not show everything."""

    request: Request

    def filter_queryset(self, queryset: QuerySet[Run]) -> QuerySet[Run]:
        """Filter, if every name is known."""
        given = self.request.query_params
        if unknown := set(given) - set(self.filters) - PAGING:
            known = ", ".join(sorted({*self.filters, *PAGING}))
            raise ValidationError({name: [f"There is no such filter; there are {known}."] for name in unknown})
        for name, values in given.lists():
            if not all(values) or (len(values) > 1 and not isinstance(self.filters.get(name), Several)):
                raise ValidationError({name: ["Give one value, or leave it out."]})
            if isinstance(self.filters.get(name), Flag) and values[0] not in {"true", "false"}:
                raise ValidationError({name: ["Give true or false."]})
        found: QuerySet[Run] = super().filter_queryset(queryset)
        return found


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
