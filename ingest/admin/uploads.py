"""The way in for a file that a person sends: checked before it is kept, and put into raw/."""

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.template.defaultfilters import filesizeformat
from django.utils.text import get_valid_filename

from migration_console.lib.errors import Refused, Unavailable, reason_of

from ..arrivals import receive
from ..models import Dataset, Run


class UploadForm(forms.Form):
    """A file, and whose it is."""

    dataset = forms.ModelChoiceField(Dataset.objects.filter(retired=False), empty_label="Choose a dataset")
    file = forms.FileField(
        help_text="CSV, or CSV in gzip", widget=forms.FileInput(attrs={"accept": ".csv,.gz,.txt,.tsv,text/csv"})
    )
    reason = forms.CharField(
        required=False, max_length=255, label="Why again",
        help_text="Only where these very bytes are loaded already, and shall be loaded once more.",
    )  # fmt: skip

    def clean_file(self) -> Any:
        """Refuse what is too large before it is kept, and give the file a name that the lake can hold."""
        file = self.cleaned_data["file"]
        if file.size > settings.MAX_FILE_BYTES:
            raise forms.ValidationError(
                f"The file has {filesizeformat(file.size)}; {filesizeformat(settings.MAX_FILE_BYTES)} is the limit. "
                "Split it, or put it into the lake directly."
            )
        try:
            name = get_valid_filename((file.name or "").lstrip("."))
        except SuspiciousFileOperation:
            raise forms.ValidationError(
                "This file has no name that can be kept. Rename it, then send it again."
            ) from None
        if len(name.encode()) > 200:
            raise forms.ValidationError("The file's name has more than 200 bytes. Shorten it, then send it again.")
        file.name = name
        return file


def why(error: Refused | Unavailable | OSError) -> str:
    """Return what a person is told whose deed failed: a refusal in its words, else that trying again may help."""
    if isinstance(error, Refused):
        return str(error)
    return f"This did not come to its end: {reason_of(error)}. Try again in a while."


def take_in(form: UploadForm, user: Any) -> Run | None:
    """Put the file of a valid form into raw/; None, and the reason at the form, where that cannot be."""
    given = form.cleaned_data
    try:
        return receive(
            given["file"], name=given["file"].name, dataset=given["dataset"], reason=given["reason"], user=user
        )
    except (Refused, Unavailable, OSError) as error:
        form.add_error("file", f"The file was not taken: {reason_of(error)}. Nothing of it is loaded; send it again.")
        return None
