"""Schedules as cron writes them, in UTC: what they mean, when they are due, and which backup comes too late."""

from datetime import UTC, datetime, timedelta

from celery.schedules import ParseException, crontab
from cron_descriptor import ExpressionDescriptor, FormatException, Options

FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
# What people choose from, in the order of how often it happens.
PRESETS: dict[str, str] = {
    "0 * * * *": "each hour",
    "0 */6 * * *": "every six hours",
    "0 3 * * *": "each day at 03:00",
    "0 3 * * 1-5": "Monday to Friday at 03:00",
    "0 3 * * 0": "each Sunday at 03:00",
    "0 5 * * 0": "each Sunday at 05:00",
    "0 3 1 * *": "on the first of each month at 03:00",
}
# A backup that is due needs time to be taken and verified.
GRACE = timedelta(hours=2)


def parsed(schedule: str) -> dict[str, str]:
    """Return the fields by their names; ValueError where the schedule is none, or never comes."""
    parts = schedule.split()
    if len(parts) != len(FIELDS):
        raise ValueError("five fields are needed")
    fields = dict(zip(FIELDS, parts))
    try:
        next_times(schedule, datetime.now(UTC), 1)
    except (ParseException, KeyError) as error:
        raise ValueError(str(error)) from None
    except RuntimeError:
        raise ValueError("it names a day that never comes") from None
    return fields


def next_times(schedule: str, after: datetime, count: int) -> list[datetime]:
    """Return when a schedule is due next."""
    found: list[datetime] = []
    for _ in range(count):
        last = found[-1] if found else after.astimezone(UTC)
        fields = dict(zip(FIELDS, schedule.split()))
        # Beat asks its own clock; here each time is asked for from the one before.
        begin, delta, _now = crontab(**fields, nowfun=lambda now=last: now).remaining_delta(last)
        found.append((begin + delta).astimezone(UTC))
    return found


def in_words(schedule: str) -> str:
    """Return what a schedule means, as people say it."""
    schedule = " ".join(schedule.split())
    if not schedule or schedule in PRESETS:
        return PRESETS.get(schedule, "")
    options = Options()
    options.use_24hour_time_format = True
    try:
        words = str(ExpressionDescriptor(schedule, options).get_full_description())
    except (FormatException, ValueError, IndexError):
        return schedule
    return words[:1].lower() + words[1:]


def is_late(schedule: str, newest: datetime, now: datetime) -> bool:
    """Tell whether the next backup after the newest one should be there by now."""
    try:
        (due,) = next_times(schedule, newest, 1)
    except (ValueError, KeyError, RuntimeError):
        # Written by an older console, or by hand: what cannot be read is not judged.
        return False
    return due + GRACE < now
