"""What people fill in about people and tokens; the services judge it."""

from typing import Any

from django import forms

from ..groups import GROUPS, PEOPLE, WORDS
from ..lib.errors import Refused
from ..tokens import MAX_DAYS


def choices(names: list[str]) -> list[tuple[str, str]]:
    """Return groups as a form offers them."""
    return [(name, WORDS[name]) for name in names]


class RightsForm(forms.Form):
    """What a person may do."""

    groups = forms.MultipleChoiceField(choices=choices(PEOPLE), required=False, widget=forms.CheckboxSelectMultiple)
    admin = forms.BooleanField(required=False)


class PersonForm(RightsForm):
    """A new person."""

    name = forms.CharField(
        max_length=150, label="User name", help_text="Letters, digits and @ . + - _",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )  # fmt: skip
    field_order = ["name"]


class TokenForm(forms.Form):
    """A new token."""

    name = forms.CharField(
        max_length=150, label="Service user",
        help_text="A name for each script, such as nightly-export. One that is there gets a further token.",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false", "list": "service-users"}
        ),
    )  # fmt: skip
    groups = forms.MultipleChoiceField(choices=choices(list(GROUPS)), widget=forms.CheckboxSelectMultiple)
    days = forms.IntegerField(
        min_value=1, max_value=MAX_DAYS, initial=365, label="Good for how many days",
        help_text="A token ends to the moment. Make the next one before.",
    )  # fmt: skip

    def __init__(self, *args: Any, groups: list[str], **more: Any) -> None:
        super().__init__(*args, **more)
        self.fields["groups"].choices = choices(groups)  # type: ignore[attr-defined]


def add_problems(form: forms.Form, refused: Refused) -> None:
    """Show what a service refused beside the fields that it names."""
    for problem in refused.problems:
        form.add_error(problem.where if problem.where in form.fields else None, problem.message)
