"""What people fill in: a plan, and where a restore goes."""

import json
from typing import Any

from django import forms

from ..models import CODEC_CHOICES, KINDS, PLAN_FIELDS, Backup, ListedTable
from ..schedule import PRESETS, parsed

PRESET_CHOICES = [("", "never"), *((cron, words) for cron, words in PRESETS.items()), ("own", "as cron writes it …")]


class PlanForm(forms.Form):
    """When a table is backed up and rehearsed, how, and which backups stay."""

    schedule = forms.CharField(required=False, max_length=100, label="Back up")
    rehearsal_schedule = forms.CharField(required=False, max_length=100, label="Rehearse the newest backup")
    codec = forms.ChoiceField(choices=CODEC_CHOICES, label="Compression")
    keep_last = forms.IntegerField(min_value=0, max_value=10_000, required=False, label="the last")
    keep_daily = forms.IntegerField(min_value=0, max_value=10_000, required=False, label="daily")
    keep_weekly = forms.IntegerField(min_value=0, max_value=10_000, required=False, label="weekly")
    keep_monthly = forms.IntegerField(min_value=0, max_value=10_000, required=False, label="monthly")
    seen = forms.CharField(widget=forms.HiddenInput)

    @classmethod
    def of(cls, plan: ListedTable) -> "PlanForm":
        """Return the form that shows a plan."""
        return cls(initial={**plan.plan, "seen": json.dumps(plan.plan)})

    def _cron(self, name: str) -> str:
        given = " ".join(self.cleaned_data[name].split())
        try:
            if given:
                parsed(given)
        except ValueError as error:
            message = f"This is no schedule such as 0 3 * * *: {error}."
            raise forms.ValidationError(message) from None
        return given

    def clean_schedule(self) -> str:
        """Refuse what cron would not understand."""
        return self._cron("schedule")

    def clean_rehearsal_schedule(self) -> str:
        """Refuse what cron would not understand."""
        return self._cron("rehearsal_schedule")

    def clean_seen(self) -> Any:
        """Return the plan that the person saw."""
        try:
            return json.loads(self.cleaned_data["seen"])
        except ValueError:
            raise forms.ValidationError("Open this page again.") from None

    @property
    def plan(self) -> dict[str, Any]:
        """Return the plan as it was filled in; an empty number is none."""
        return {name: self.cleaned_data[name] or self._none(name) for name in PLAN_FIELDS}

    def _none(self, name: str) -> Any:
        return 0 if name.startswith("keep_") else ""

    @property
    def keeps(self) -> dict[str, int]:
        """Return the rules of retention as they were filled in."""
        return {kind: self.cleaned_data[f"keep_{kind}"] or 0 for kind in KINDS}


class TargetForm(forms.Form):
    """Which backup, into which table."""

    backup = forms.TypedChoiceField(coerce=int, label="Backup")
    where = forms.ChoiceField(
        choices=[("same", "the table itself"), ("other", "a table of another name")], widget=forms.RadioSelect
    )
    into = forms.CharField(required=False, max_length=64, label="Name of that table")

    def __init__(self, backups: list[Backup], *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.fields["backup"].choices = [(b.pk, _line(b)) for b in backups]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """A table of another name needs one."""
        given = super().clean() or {}
        if given.get("where") == "other" and not given.get("into"):
            self.add_error("into", "Type the name that the restored table gets.")
        return given


def _line(backup: Backup) -> str:
    proof = "rehearsed" if backup.rehearsed_at else "verified" if backup.verified_at else "not verified"
    taken = backup.taken_at.strftime("%Y-%m-%d %H:%M UTC")
    return f"{taken} · {backup.rows:,} rows · {proof} · backup {backup.pk}"
