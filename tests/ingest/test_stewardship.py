"""What stewards do with datasets, behind the pages: drafts, names, references, files without a dataset."""

import gzip
import io
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from ingest.admission import admit_upload
from ingest.datasets import remove_dataset, rename_dataset, save_dataset
from ingest.descriptor import Descriptor
from ingest.editing import assign, draft_of_dataset, draft_of_file, draft_of_run, judge, pattern_for, publish
from ingest.models import Dataset, Draft, Run
from ingest.patterns import matches
from ingest.preview import SAMPLE_BYTES, head_of, preview
from ingest.schema import compile_schema
from ingest.sweeper import sweep, unfinished, work_off
from migration_console.lib.audit import AuditEntry
from migration_console.lib.errors import Conflict, Refused
from tests.conftest import Loads

ID: dict[str, Any] = {"name": "id", "type": "integer", "constraints": {"required": True}}
SMALL: dict[str, Any] = {"name": "small", "schema": {"fields": [ID], "primaryKey": "id"}}
CHILD: dict[str, Any] = {
    "name": "child",
    "schema": {
        "fields": [ID],
        "foreignKeys": [{"fields": "id", "reference": {"resource": "small", "fields": "id"}}],
    },
}


def test_a_rename_keeps_the_table_and_takes_references_along(load: Loads) -> None:
    load(SMALL, "id\n1\n")
    save_dataset(CHILD)
    rename_dataset(Dataset.objects.get(name="small"), "large", keep_files=False)
    large = Dataset.objects.get(name="large")
    assert (large.table, large.current.number) == ("small", 2)
    assert large.current.parsed.file_patterns[0] == "large.csv"
    keys = Dataset.objects.get(name="child").current.parsed.schema_.foreign_keys
    assert keys[0].reference.resource == "large"
    assert load({**large.current.descriptor}, "id\n2\n", name="large-2.csv").loaded == 1


def test_a_rename_keeps_the_files_where_asked(tables: None) -> None:
    dataset = save_dataset(SMALL).dataset
    rename_dataset(dataset, "large", keep_files=True)
    assert dataset.current.parsed.file_patterns == Descriptor(name="small").file_patterns


def test_a_name_that_is_taken_or_wrong_changes_nothing(tables: None) -> None:
    dataset = save_dataset(SMALL).dataset
    save_dataset({**SMALL, "name": "other", "table": "others"})
    for name in ("other", "Not A Name"):
        with pytest.raises(Refused):
            rename_dataset(dataset, name, keep_files=True)
    assert Dataset.objects.filter(name="small").exists()
    assert dataset.versions.count() == 1


def test_neither_rename_nor_retire_while_runs_are_under_way(tables: None) -> None:
    dataset = save_dataset(SMALL).dataset
    admit_upload("raw/small.csv", io.BytesIO(b"id\n1\n"), trigger="test", dataset=dataset)
    with pytest.raises(Conflict, match="runs under way"):
        rename_dataset(dataset, "large", keep_files=True)
    with pytest.raises(Conflict, match="runs under way"):
        remove_dataset(dataset)


def test_what_two_people_publish_is_not_overwritten_unasked(tables: None) -> None:
    dataset = save_dataset(SMALL).dataset
    draft = draft_of_dataset(dataset, user=None)
    bob = get_user_model().objects.create_user("bob")
    save_dataset({**SMALL, "title": "by bob"}, user=bob)
    mine = {**SMALL, "title": "mine"}
    with pytest.raises(Conflict, match="published by bob"):
        publish(draft, mine, user=None)
    assert publish(draft, mine, user=None, over=True).descriptor["title"] == "mine"


def test_a_draft_never_becomes_another_dataset(tables: None) -> None:
    save_dataset(SMALL)
    draft = draft_of_file(io.BytesIO(b"id\n1\n"), "small.csv", user=None)
    with pytest.raises(Refused, match="there is a dataset 'small' already"):
        publish(draft, draft.descriptor, user=None)


def test_a_dataset_from_a_waiting_file_takes_it_and_its_siblings(tables: None) -> None:
    data = gzip.compress(b"id,when\n1,2024-01-01\n")
    run = admit_upload("raw/in/2024/export_07.csv.gz", io.BytesIO(data), trigger="test", dataset=None)
    draft = draft_of_run(run, user=None)
    assert draft.descriptor["files"] == ["in/*/export_*.csv.gz"]
    publish(draft, draft.descriptor, user=None)
    assert [run.loaded for run in work_off(unfinished())] == [1]


@pytest.mark.parametrize("path", ["a1.csv", "2024-05-01/x-7.csv", "1.2.3", "weird*?/[7].csv", "back\\7.csv"])
def test_a_pattern_for_a_file_matches_it(path: str) -> None:
    assert matches(pattern_for(path), path)


def test_a_file_is_given_to_a_dataset_once(tables: None) -> None:
    dataset = save_dataset(SMALL).dataset
    run = admit_upload("raw/odd.csv", io.BytesIO(b"id\n1\n"), trigger="test", dataset=None)
    assign(run, dataset, user=None)
    with pytest.raises(Conflict):
        assign(Run.objects.get(pk=run.pk), dataset, user=None)
    assert AuditEntry.objects.filter(action="run.assigned").count() == 1


def test_drafts_that_nobody_touches_are_forgotten(tables: None) -> None:
    old, new = (draft_of_file(io.BytesIO(b"id\n1\n"), "x.csv", user=None) for _ in range(2))
    Draft.objects.filter(pk=old.pk).update(touched_at=timezone.now() - timedelta(days=15))
    sweep()
    assert list(Draft.objects.all()) == [new]


def test_the_next_version_is_tried_on_the_last_file(load: Loads) -> None:
    load(SMALL, "id\n1\nx\n")
    draft = draft_of_dataset(Dataset.objects.get(), user=None)
    found = judge(draft, draft.descriptor)
    assert found.preview
    assert (draft.sample_name, found.preview.good, found.preview.bad) == ("small.csv", 1, 1)


def test_a_sample_ends_at_a_whole_row() -> None:
    row = b'1,"' + b"x" * 5000 + b'"\n'
    data, cut = head_of(io.BytesIO(b"id,text\n" + row * 300))
    assert (len(data), cut) == (SAMPLE_BYTES, True)
    found = preview(data, compile_schema({"name": "x", "schema": {"fields": [ID, {"name": "text"}]}}), cut=cut)
    assert (found.problems, found.bad, found.good) == ([], 0, len(data) // len(row))


@pytest.mark.parametrize(
    ("data", "more", "good", "codes"),
    [
        (b"id\n1\n1\n", {}, 1, {"duplicate-key"}),
        (b"id\n1\n1\n", {"mode": "upsert"}, 2, set()),
        (b"# made by x\nid\n1\nend\n", {"dialect": {"preamble": 1, "footer": 1}}, 1, set()),
        ("id\n1\né\n".encode("utf-16"), {"encoding": "utf-16"}, 1, {"not-an-integer"}),
        (b"\xef\xbb\xbfid\n1\n\xff\n2,3\n\n4\n\n", {}, 2, {"invalid-encoding", "long-row", "blank-line"}),
        (b"1\n2\n", {"dialect": {"header": False}}, 2, set()),
    ],
)
def test_a_preview_judges_as_loading_would(data: bytes, more: dict[str, Any], good: int, codes: set[str]) -> None:
    found = preview(data, compile_schema({**SMALL, **more}))
    assert (found.good, {group["code"] for group in found.groups}) == (good, codes)


def test_a_preview_says_why_a_file_would_be_refused() -> None:
    found = preview(b"ID\n1\n", compile_schema(SMALL))
    assert [problem.code for problem in found.problems] == ["missing-column", "unknown-column"]
    assert preview(b'id\n"1\n', compile_schema(SMALL)).problems[0].code == "unclosed-quote"
