"""How pages show what all of them have: states as a word with colour and icon, times, durations."""

from datetime import UTC, datetime
from typing import Literal, NamedTuple

from django.utils.html import format_html
from django.utils.safestring import SafeString

Tone = Literal["good", "busy", "warn", "bad", "quiet"]


class Badge(NamedTuple):
    """A state as people see it: never by its colour alone."""

    word: str
    tone: Tone
    icon: str


def badge(shown: Badge, title: str = "") -> SafeString:
    """Return a badge as HTML; `icon` is a name of Material Symbols."""
    return format_html(
        '<span class="badge {}"{}><span class="material-symbols-outlined" aria-hidden="true">{}</span>{}</span>',
        shown.tone,
        format_html(' title="{}"', title) if title else "",
        shown.icon,
        shown.word,
    )


def moment(value: datetime | None) -> SafeString | str:
    """Return a time as HTML: console.js shows it in the viewer's zone, the tooltip says it in UTC."""
    if value is None:
        return "–"
    utc = value.astimezone(UTC)
    return format_html(
        '<time class="moment" datetime="{}" title="{}">{}</time>',
        utc.isoformat(timespec="milliseconds"),
        utc.strftime("%Y-%m-%d %H:%M:%S UTC"),
        utc.strftime("%Y-%m-%d %H:%M UTC"),
    )


def duration(seconds: float | None) -> str:
    """Return seconds as people say them: 0.4 s, 12 s, 3 min 5 s, 2 h 10 min, 3 days."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days"


def ratio(part: int, whole: int) -> str:
    """Return a share in per cent; what is more than nothing never shows as 0 %."""
    if not whole or not part:
        return "0 %"
    share = 100 * part / whole
    return "< 0.1 %" if share < 0.1 else f"{share:.1f} %"
