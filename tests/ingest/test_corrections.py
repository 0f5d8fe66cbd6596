"""Rejects corrected one by one and in bulk, sent once, and what becomes of them."""

import threading
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from ingest import corrections, export
from ingest.amending import dismiss, edit, reopen, restore
from ingest.cells import Cells
from ingest.datasets import save_dataset
from ingest.fixes import apply, changer, distinct, parse_fix, preview
from ingest.models import Run, Status
from ingest.reckoning import reckon
from ingest.rejects import Choice
from ingest.services import advance, cancel
from ingest.sweeper import unfinished, work_off
from migration_console.lib.audit import AuditEntry, broken_lines
from migration_console.lib.errors import Conflict, Refused
from tests.conftest import Loads, query

PEOPLE: dict[str, Any] = {
    "name": "people",
    "schema": {
        "fields": [
            {"name": "id", "type": "integer"},
            {"name": "name", "constraints": {"required": True, "maxLength": 20}},
            {"name": "born", "type": "date"},
            {"name": "country", "constraints": {"enum": ["DE", "AT"]}},
        ],
        "primaryKey": "id",
    },
}
HEAD = "id,name,born,country\n"
# Row 2: two wrong cells; row 3: no name; row 4: cannot be cut; row 5: taken key.
FILE = HEAD + "1,Ann,1990-01-31,DE\nx,Bob,1990-02-30,DE\n3,,1991-03-31,AT\n4,Dan,D,1992-04-30,DE\n1,Eve,,DE\n"


def states(run: Run) -> dict[int, str]:
    return dict(run.rejects.order_by("row").values_list("row", "state"))


def errors(run: Run, row: int) -> list[str]:
    return [error["code"] for error in run.rejects.get(row=row).errors]


def finish() -> list[Run]:
    return work_off(unfinished())


@pytest.mark.database
def test_a_correction_is_kept_at_once_and_sent_later(load: Loads) -> None:
    ann = get_user_model().objects.create_user("ann")
    run = load(PEOPLE, FILE)
    assert edit(run, 2, {"born": "1990-02-28"}, user=ann).state == "edited"
    assert edit(run, 2, {"id": "2"}, user=ann).state == "ready"
    kept = run.rejects.get(row=2)
    assert (kept.corrected, kept.corrected_by, kept.child) == ({"born": "1990-02-28", "id": "2"}, ann, None)
    child = corrections.send(run, user=ann)
    assert (states(run)[2], child.trigger, child.parent, child.user) == ("resubmitted", "correction", run, ann)
    finish()
    assert states(run) == {2: "fixed", 3: "open", 4: "open", 5: "open"}
    assert query("SELECT id, name FROM people ORDER BY id") == [(1, "Ann"), (2, "Bob")]
    found = reckon(run)
    assert (found.read, found.loaded, found.by_children, found.open, found.adds_up) == (5, 1, 1, 3, True)
    said = AuditEntry.objects.filter(subject_type="run").order_by("id").values_list("action", "actor")
    assert list(said) == [("reject.edited", "ann")] * 2 + [("reject.resubmitted", "ann")]
    assert list(broken_lines()) == []


def test_what_is_back_to_how_it_came_is_not_corrected(load: Loads) -> None:
    run = load(PEOPLE, FILE)
    edit(run, 2, {"id": "2", "born": "1990-02-28"})
    assert restore(run, 2, "id").corrected == {"born": "1990-02-28"}
    assert edit(run, 2, {"born": "1990-02-30"}).state == "open"
    assert run.rejects.get(row=2).corrected is None
    edit(run, 2, {"id": "2", "born": ""})
    assert run.rejects.get(row=2).corrected == {"id": "2", "born": None}
    assert restore(run, 2).state == "open"


def test_a_row_that_cannot_be_cut_is_offered_as_it_may_have_been(load: Loads) -> None:
    run = load(PEOPLE, FILE)
    assert errors(run, 4) == ["long-row"]
    assert edit(run, 4, {"name": "Dan, D", "born": "1992-04-30"}).state == "edited"
    guess = {"id": "4", "name": "Dan, D", "born": "1992-04-30", "country": "1992-04-30"}
    assert run.rejects.get(row=4).corrected == guess
    assert edit(run, 4, {"country": "DE"}).state == "ready"
    corrections.send(run)
    finish()
    assert query("SELECT name FROM people WHERE id = 4") == [("Dan, D",)]


@pytest.mark.database
def test_what_the_database_refuses_is_open_again_with_its_reason(load: Loads) -> None:
    run = load(PEOPLE, FILE)
    edit(run, 3, {"id": "1", "name": "Cid"})
    corrections.send(run)
    (child,) = finish()
    reject = run.rejects.get(row=3)
    assert (reject.state, errors(run, 3), reject.corrected) == ("open", ["duplicate-key"], {"id": "1", "name": "Cid"})
    # In the child it is dismissed: nobody mends it twice.
    assert (child.rejected, states(child)) == (1, {1: "dismissed"})
    with pytest.raises(Conflict, match="those of run"):
        edit(child, 1, {"id": "9"})
    assert reckon(child).adds_up
    edit(run, 3, {"id": "3"})
    corrections.send(run)
    finish()
    assert states(run)[3] == "fixed"


@pytest.mark.database
def test_of_two_who_send_at_once_one_finds_the_rows_taken(load: Loads) -> None:
    run = load(PEOPLE, FILE)
    edit(run, 3, {"name": "Cid"})
    found: list[object] = []
    line = threading.Barrier(2)
    write = corrections.write_file

    def both(*arguments: Any) -> None:
        write(*arguments)
        line.wait(30)

    def go() -> None:
        try:
            found.append(corrections.send(Run.objects.get(pk=run.pk)).pk)
        except Exception as error:
            found.append(type(error).__name__)
        finally:
            connection.close()

    with pytest.MonkeyPatch.context() as patch:
        # Both have read the rows and written their file before either claims them.
        patch.setattr(corrections, "write_file", both)
        threads = [threading.Thread(target=go) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(type(one).__name__ for one in found) == ["int", "str"], found
    assert "Conflict" in found
    assert Run.objects.filter(parent=run).count() == 1
    finish()
    assert query("SELECT COUNT(*) FROM people WHERE id = 3") == [(1,)]


def test_nothing_ready_makes_no_run(load: Loads) -> None:
    run = load(PEOPLE, FILE)
    edit(run, 2, {"id": "2"})
    with pytest.raises(Refused, match="no corrected row passes"):
        corrections.send(run)
    assert Run.objects.count() == 1


def test_a_child_that_is_cancelled_gives_the_rows_back(load: Loads) -> None:
    run = load(PEOPLE, FILE)
    edit(run, 3, {"name": "Cid"})
    child = corrections.send(run)
    cancel(child)
    assert advance(child.pk).status == Status.CANCELLED
    assert states(run)[3] == "ready"


def test_rows_of_a_child_that_failed_half_way_are_not_sent_twice(load: Loads, settings: Any) -> None:
    bad = "".join(f"{n},,1990-01-01,DE\n" for n in range(1, 41))
    run = load(PEOPLE, HEAD + bad)
    apply(run, Choice(), parse_fix({"how": "set", "column": "name", "to": "Somebody"}))
    child = corrections.send(run)
    settings.BATCH_BYTES = 256
    from ingest import loader

    close = loader.Loader._close
    done: list[int] = []

    def then_cancel(self: Any, *arguments: Any) -> None:
        close(self, *arguments)
        done.append(1)
        if len(done) == 2:
            cancel(child)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader.Loader, "_close", then_cancel)
        child = advance(child.pk)
    assert child.status == Status.CANCELLED
    ((there,),) = query("SELECT COUNT(*) FROM people")
    assert 0 < there < 40
    counts = list(states(run).values())
    assert (counts.count("fixed"), counts.count("ready")) == (there, 40 - there)
    corrections.send(run)
    finish()
    assert query("SELECT COUNT(*) FROM people") == [(40,)]
    assert reckon(run).adds_up


@pytest.mark.database
def test_a_group_is_mapped_looked_at_first(load: Loads) -> None:
    rows = "".join(f"{n},P{n},,{['Germany', 'Austria', ' DE', 'Mars'][n % 4]}\n" for n in range(1, 21))
    run = load(PEOPLE, HEAD + rows)
    group = Choice(field="country", code="not-in-list")
    assert distinct(run, group, "country") == ([("Austria", 5), (" DE", 5), ("Mars", 5), ("Germany", 5)], True)
    fix = parse_fix({"how": "map", "column": "country", "words": {"Germany": "DE", "Austria": "AT", "Mars": "XX"}})
    seen = preview(run, group, fix)
    assert (seen.rows, seen.changed, seen.passing) == (20, 15, 10)
    assert {(s.before, s.after, bool(s.problem)) for s in seen.samples} == {
        ("Germany", "DE", False), ("Austria", "AT", False), ("Mars", "XX", True),
    }  # fmt: skip
    assert set(states(run).values()) == {"open"}
    done = apply(run, group, fix)
    assert (done.rows, done.changed, done.passing, done.after) == (20, 15, 10, None)
    apply(run, group, parse_fix({"how": "strip", "column": "country"}))
    corrections.send(run)
    finish()
    assert query("SELECT country, COUNT(*) FROM people GROUP BY country ORDER BY country") == [("AT", 5), ("DE", 10)]
    assert states(run)[3] == "edited"
    # Taken back, the group is as it came.
    apply(run, group, parse_fix({"how": "restore", "column": "country"}))
    assert (states(run)[3], run.rejects.get(row=3).corrected) == ("open", None)


@pytest.mark.parametrize(
    ("fix", "before", "after"),
    [
        ({"how": "replace", "find": "/", "to": "-"}, "1/2/3", "1-2-3"),
        ({"how": "pattern", "find": r"^(\d+)\.(\d+)\.(\d+)$", "to": "${3}-${2}-${1}"}, "31.12.2024", "2024-12-31"),
        ({"how": "pattern", "find": "(a+)+$", "to": ""}, "a" * 5000 + "b", "a" * 5000 + "b"),
        ({"how": "set", "to": "x"}, None, "x"),
        ({"how": "set", "to": ""}, "x", None),
        ({"how": "strip"}, " x\u3000", "x"),
        ({"how": "upper"}, "de", "DE"),
        ({"how": "lower"}, None, None),
        ({"how": "map", "words": {"": "n/a"}}, None, "n/a"),
    ],
)
def test_what_a_fix_does_to_a_value(fix: dict[str, Any], before: str | None, after: str | None) -> None:
    from ingest.fixes import changer

    assert changer(parse_fix({"column": "c", **fix}))([before]) == [after]


@pytest.mark.parametrize("quote", ['"', None])
def test_a_row_of_one_column_without_a_value_is_not_sent(load: Loads, quote: str | None) -> None:
    schema = {"fields": [{"name": "n", "type": "integer"}]}
    run = load({"name": "numbers", "schema": schema, "dialect": {"quoteChar": quote}}, "n\n1\nx\ny\n")
    assert edit(run, 2, {"n": "2"}).state == "ready"
    assert edit(run, 3, {"n": ""}).state == "edited"
    corrections.send(run)
    finish()
    assert states(run) == {2: "fixed", 3: "edited"}
    with pytest.raises(Refused, match="empty line"):
        corrections.resubmit(run, {3: {"n": None}})


@pytest.mark.parametrize("fix", [{"how": "pattern", "find": "("}, {"how": "replace"}, {"how": "burn"}])
def test_a_fix_that_makes_no_sense_is_refused(fix: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        parse_fix({"column": "c", **fix})


@pytest.mark.database
def test_after_a_rule_was_corrected_rows_are_tried_again_unchanged(load: Loads) -> None:
    run = load(PEOPLE, HEAD + "1,Ann,1990-01-31,CH\n2,Bob,1990-01-31,CH\n3,,1990-01-31,CH\n")
    better = {**PEOPLE, "schema": {**PEOPLE["schema"], "fields": [dict(f) for f in PEOPLE["schema"]["fields"]]}}
    better["schema"]["fields"][3]["constraints"] = {"enum": ["DE", "AT", "CH"]}
    save_dataset(better)
    assert corrections.would_pass(run) == (2, 0)
    corrections.replay(run)
    (child,) = finish()
    assert (child.loaded, child.schema_version and child.schema_version.number) == (2, 2)
    assert states(run) == {1: "fixed", 2: "fixed", 3: "open"}
    assert AuditEntry.objects.latest("id").action == "reject.replayed"


@pytest.mark.database
def test_what_only_the_database_refused_is_asked_again_when_somebody_says_so(load: Loads) -> None:
    run = load(PEOPLE, HEAD + "1,Ann,,DE\n1,Bob,,DE\n3,,,DE\n")
    assert corrections.would_pass(run) == (0, 1)
    with pytest.raises(Refused, match="no corrected row"):
        corrections.replay(run)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM people")
    corrections.replay(run, database=True)
    finish()
    assert states(run) == {2: "fixed", 3: "open"}


@pytest.mark.database
def test_dismissed_with_a_reason_and_taken_up_again(load: Loads) -> None:
    run = load(PEOPLE, FILE)
    edit(run, 2, {"id": "2", "born": "1990-02-28"})
    with pytest.raises(Refused, match="say why"):
        dismiss(run, Choice(), " ")
    assert dismiss(run, Choice(rows=[2, 3]), "test data") == 2
    assert (states(run)[2], run.rejects.get(row=2).note, reckon(run).dismissed) == ("dismissed", "test data", 2)
    with pytest.raises(Conflict, match="dismissed"):
        edit(run, 2, {"id": "9"})
    assert reopen(run, Choice(rows=[2, 3])) == 2
    assert states(run) == {2: "ready", 3: "open", 4: "open", 5: "open"}
    assert dismiss(run, Choice(code="duplicate-key"), "known") == 1
    assert states(run)[5] == "dismissed"


def changed(**columns: dict[str, Any] | None) -> None:
    """Save a new version of people: with other columns, or without some."""
    fields = [
        {**f, **(columns.get(f["name"]) or {})}
        for f in PEOPLE["schema"]["fields"]
        if columns.get(f["name"], {}) is not None
    ]
    save_dataset({**PEOPLE, "schema": {**PEOPLE["schema"], "fields": fields}, "unknownColumns": "ignore"})


@pytest.mark.database
def test_a_correction_goes_with_its_column_when_that_is_renamed(load: Loads) -> None:
    run = load(PEOPLE, FILE)
    assert edit(run, 2, {"id": "2", "born": "1990-02-28", "country": "AT"}).state == "ready"
    assert edit(run, 3, {"name": "Cid", "country": "DE"}).state == "ready"
    assert edit(run, 4, {"name": "Dan, D", "born": "1992-04-30", "country": "DE"}).state == "ready"
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE people RENAME COLUMN country TO land")
    changed(country={"name": "land", "aliases": ["country"]})
    assert restore(run, 3, "born").corrected == {"name": "Cid", "land": "DE"}
    assert edit(run, 4, {"land": "AT"}).corrected == {"id": "4", "name": "Dan, D", "born": "1992-04-30", "land": "AT"}
    lines = b"".join(export.as_csv(run)).decode()
    assert "2,3,2,Bob,1990-02-28,AT," in lines
    corrections.send(run)
    finish()
    there = [(2, "Bob", "AT"), (3, "Cid", "DE"), (4, "Dan, D", "AT")]
    assert query("SELECT id, name, land FROM people WHERE id > 1 ORDER BY id") == there


def test_a_correction_whose_column_is_gone_holds_its_row_back(load: Loads) -> None:
    run = load(PEOPLE, FILE)
    edit(run, 3, {"name": "Cid", "country": "DE"})
    changed(country=None)
    with pytest.raises(Refused, match="no corrected row"):
        corrections.send(run)
    assert states(run)[3] == "edited"
    cells, reject = Cells(run), run.rejects.get(row=3)
    (error,) = cells.judge(cells.current(reject) or {})
    assert (error["field"], error["code"], error["value"]) == ("country", "unknown-column", "DE")
    with pytest.raises(Refused, match="no column 'country'"):
        corrections.resubmit(run, {3: {"born": None}})
    assert restore(run, 3, "country").state == "ready"


def test_a_run_under_way_is_left_alone(load: Loads) -> None:
    run = load(PEOPLE, FILE)
    Run.objects.filter(pk=run.pk).update(closed_at=None)
    with pytest.raises(Conflict, match="once it has ended"):
        edit(run, 2, {"id": "2"})


@pytest.mark.database
@pytest.mark.heavy
def test_a_hundred_thousand_rejects_are_mended_and_sent(load: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource
    import time

    count = 100_000
    rows = "".join(f"{n},Somebody,1990-01-31,Germany\n" for n in range(1, count + 1))
    run = load(PEOPLE, HEAD + rows)
    assert run.rejected == count
    group = Choice(field="country", code="not-in-list")
    fix = {"how": "map", "column": "country", "words": {"Germany": "DE"}}
    times = {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def timed(name: str, call: Any) -> Any:
        start = time.monotonic()
        result = call()
        times[name] = round(time.monotonic() - start, 1)
        return result

    assert timed("preview", lambda: preview(run, group, parse_fix(fix))).passing == count
    after: int | None = 0
    slices = []
    while after is not None:
        done = timed("slice", lambda at=after: apply(run, group, parse_fix(fix), after=at))
        slices.append(times["slice"])
        after = done.after
    child = timed("send", lambda: corrections.send(run))
    timed("load", finish)
    times["worst slice"] = max(slices)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    print(times, grown)
    child.refresh_from_db()
    assert (child.loaded, reckon(run).by_children, reckon(run).adds_up) == (count, count, True)
    assert grown < 200, f"{grown} MiB"
    assert max(slices) < 20, times


@pytest.mark.database
def test_rows_of_a_file_that_is_not_in_the_table_are_not_sent_from_it(load: Loads) -> None:
    keyless = {**PEOPLE, "onError": {"rows": 1}, "schema": {"fields": PEOPLE["schema"]["fields"]}}
    run = load(keyless, FILE)
    assert run.status == Status.REFUSED
    with pytest.raises(Conflict, match="nothing of it is in the table"):
        corrections.resubmit(run, {2: {"id": "2", "born": None}})
    with pytest.raises(Conflict, match="nothing of it is in the table"):
        edit(run, 2, {"id": "2"})


def test_a_corrected_row_is_not_loaded_as_it_came(load: Loads) -> None:
    run = load(PEOPLE, FILE)
    reject = run.rejects.get(row=3)
    reject.errors = [{**reject.errors[0], "code": "foreign-key"}]
    assert reject.is_orphan
    reject.corrected = {"name": "Cid"}
    assert not reject.is_orphan


@pytest.mark.parametrize("how", ["replace", "pattern"])
def test_a_fix_that_would_make_megabytes_of_a_cell_is_refused(how: str) -> None:
    change = changer(parse_fix({"column": "name", "how": how, "find": "a", "to": "b" * 4000}))
    assert change(["a"]) == ["b" * 4000]
    with pytest.raises(Refused, match="too long"):
        change(["a" * 1000])
