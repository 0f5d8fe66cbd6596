"""What templates of all pages need."""

from django import template

from migration_console import shown

register = template.Library()
register.filter("badge", shown.badge)
register.filter("moment", shown.moment)
register.filter("duration", shown.duration)


@register.filter
def thousands(number: int | None) -> str:
    """Return a number with a comma at each thousand."""
    return "–" if number is None else f"{number:,}"


@register.filter
def hint(hints: dict[str, str], code: str) -> str:
    """Return what to do about a code."""
    return hints.get(code, "")
