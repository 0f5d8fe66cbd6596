"""Datasets and their versions: the list, and where its pages are."""

from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.defaultfilters import pluralize
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.views import ChangeList

from migration_console.numbers import number
from migration_console.readonly import ReadOnlyAdmin
from migration_console.shown import badge, moment

from ..editing import waiting_files
from ..models import Dataset, Run, SchemaVersion
from . import dataset_page as views
from .drafting import draft_view, sample_view
from .shown import badge_of, state_of

# Files without a dataset are counted up to here.
MOST_COUNTED = 100


class StateFilter(admin.SimpleListFilter):
    """Whether datasets take files."""

    title = "state"
    parameter_name = "state"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        """Return the choices."""
        return [("active", "Active"), ("paused", "Paused"), ("retired", "Retired")]

    def queryset(self, _request: HttpRequest, found: QuerySet[Dataset]) -> QuerySet[Dataset]:
        """Keep those of the chosen state."""
        chosen = {"active": (False, False), "paused": (False, True)}.get(self.value() or "")
        if self.value() == "retired":
            return found.filter(retired=True)
        return found if chosen is None else found.filter(retired=chosen[0], paused=chosen[1])


class DatasetList(ChangeList):  # type: ignore[misc]  # unfold has no types
    """The list, with the newest version and the last run of each dataset: one query each, not one a row."""

    def get_results(self, request: HttpRequest) -> None:
        """Fetch what the columns show."""
        super().get_results(request)
        # By the index on dataset and id, from its end: the same work however many runs there are.
        newest = SchemaVersion.objects.filter(dataset=OuterRef("pk")).order_by("-number").values("pk")[:1]
        last = Run.objects.filter(dataset=OuterRef("pk")).order_by("-id").values("pk")[:1]
        chosen = Dataset.objects.filter(pk__in=[dataset.pk for dataset in self.result_list])
        keys = {row[0]: row[1:] for row in chosen.values_list("pk", Subquery(newest), Subquery(last))}
        versions = SchemaVersion.objects.in_bulk([version for version, _ in keys.values()])
        runs = Run.objects.in_bulk([run for _, run in keys.values() if run])
        for dataset in self.result_list:
            version, run = keys[dataset.pk]
            dataset.newest, dataset.last_run = versions.get(version), runs.get(run)


@admin.register(Dataset)
class DatasetAdmin(ReadOnlyAdmin):
    """Datasets with their newest version."""

    list_display = ["name", "table", "version", "mode", "patterns", "state", "last_run"]
    list_filter = [StateFilter]
    search_fields = ["name", "table"]
    actions_list = ["new"]
    list_before_template = "ingest/dataset_list_before.html"

    def get_changelist(self, _request: HttpRequest, **_: Any) -> type[ChangeList]:
        """Return the list."""
        return DatasetList

    def get_ordering(self, _request: HttpRequest) -> list[str]:
        """Return those that take files first."""
        return ["retired", "name"]

    @display(description="version")
    def version(self, dataset: Any) -> str:
        """Return the newest version's number."""
        return str(dataset.newest.number) if dataset.newest else "–"

    @display(description="mode")
    def mode(self, dataset: Any) -> str:
        """Return how rows are written."""
        return str(dataset.newest.descriptor.get("mode", "append")) if dataset.newest else "–"

    @display(description="files below raw/")
    def patterns(self, dataset: Any) -> str:
        """Return the file patterns: those given, or the default in short."""
        given = dataset.newest.descriptor.get("files") if dataset.newest else []
        return ", ".join(given) if given else f"{dataset.name}*.csv, {dataset.name}/**"

    @display(description="state")
    def state(self, dataset: Dataset) -> SafeString:
        """Return whether it takes files."""
        return badge(state_of(dataset))

    @display(description="last run")
    def last_run(self, dataset: Any) -> SafeString | str:
        """Return how the last file fared."""
        run = dataset.last_run
        if run is None:
            return "no file yet"
        address = reverse("admin:ingest_run_change", args=[run.pk])
        when = moment(run.received_at)
        rows = f"{run.loaded:,} row{pluralize(run.loaded)}"
        return format_html('<a href="{}">{}</a> {}, {}', address, badge(badge_of(run)), rows, when)

    @action(description="New dataset", url_path="new", permissions=["new"], icon="add")
    def new(self, request: HttpRequest) -> HttpResponseBase:
        """Begin a draft."""
        return views.new_view(request)

    def has_new_permission(self, request: HttpRequest, *_: Any) -> bool:
        """Tell who may make datasets."""
        return bool(request.user.has_perm("ingest.add_dataset"))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the list, below the number of files that no dataset matches."""
        waiting = len(waiting_files().values_list("pk")[:MOST_COUNTED]) if self.has_view_permission(request) else 0
        more = {
            "waiting": waiting,
            "waiting_more": waiting == MOST_COUNTED,
            "new_dataset": self.has_new_permission(request),
        }
        return super().changelist_view(request, {**more, **(extra_context or {})})

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponseBase:
        """Show the dataset's page."""
        pk = number(object_id)
        return redirect("admin:ingest_dataset_changelist") if pk is None else views.dataset_view(request, pk)

    def get_urls(self) -> list[Any]:
        """Add the pages of datasets, drafts and waiting files."""
        pages: list[tuple[str, views.View, str]] = [
            ("files/", views.files_view, "files"),
            ("files/<int:pk>/assign/", views.assign_view, "assign"),
            ("files/<int:pk>/draft/", views.adopt_view, "adopt"),
            ("draft/<int:pk>/", draft_view, "draft"),
            ("draft/<int:pk>/sample/", sample_view, "sample"),
            ("<int:pk>/edit/", views.edit_view, "edit"),
            ("<int:pk>/load/", views.load_view, "load"),
            ("<int:pk>/dry-run/", views.dry_run_view, "dry_run"),
            ("<int:pk>/pause/", views.pause_view, "pause"),
            ("<int:pk>/rename/", views.rename_view, "rename"),
            ("<int:pk>/retire/", views.retire_view, "retire"),
            ("<int:pk>/bring-back/", views.bring_back_view, "bring_back"),
        ]
        own = [
            path(place, self.admin_site.admin_view(view), name=f"ingest_dataset_{name}") for place, view, name in pages
        ]
        return [*own, *super().get_urls()]


@admin.register(SchemaVersion)
class SchemaVersionAdmin(ReadOnlyAdmin):
    """Descriptors as they were."""

    list_display = ["dataset", "number", "created_at", "created_by"]
    list_filter = ["dataset"]
    list_prefetch = ["dataset", "created_by"]
