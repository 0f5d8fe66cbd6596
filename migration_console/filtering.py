"""What filters of lists have in common: they refuse what they do not know."""

from datetime import UTC, datetime
from typing import Any

import django_filters
from django import forms
from django.core import exceptions
from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

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

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
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
        found: QuerySet[Any] = super().filter_queryset(queryset)
        return found
