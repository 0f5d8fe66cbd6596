"""The hiring files: real data, three tables that refer to one another. HIRING_DATA names their folder."""

import itertools
import json
import os
from pathlib import Path

import pytest

from ingest.admission import admit_upload
from ingest.datasets import save_dataset
from ingest.models import Run, Status
from ingest.sweeper import work_off
from migration_console.lib.folder import Folder
from tests.conftest import query

pytestmark = [
    pytest.mark.database,
    pytest.mark.skipif("HIRING_DATA" not in os.environ, reason="HIRING_DATA does not name the hiring files"),
]
DESCRIPTORS = Path(__file__).resolve().parent.parent / "data"
NAMES = ["departments", "jobs", "hired_employees"]
YEAR_2021 = "datetime >= '2021-01-01' AND datetime < '2022-01-01'"


def save_datasets() -> None:
    for name in NAMES:
        save_dataset(json.loads((DESCRIPTORS / f"{name}.json").read_text()))


def drop(order: tuple[str, ...]) -> dict[str, Run]:
    """Put the files into raw/ in an order, then work."""
    runs = {}
    for name in order:
        with (Path(os.environ["HIRING_DATA"]) / f"{name}.csv").open("rb") as source:
            runs[name] = admit_upload(f"raw/{name}.csv", source, trigger="test", dataset=None)
    return dict(zip(order, work_off(list(runs.values()))))


@pytest.mark.parametrize("order", list(itertools.permutations(NAMES)), ids=",".join)
def test_any_order_gives_the_same(tables: None, order: tuple[str, ...]) -> None:
    save_datasets()
    runs = drop(order)
    assert {name: (run.read, run.loaded, run.rejected) for name, run in runs.items()} == {
        "departments": (12, 12, 0),
        "jobs": (183, 183, 0),
        "hired_employees": (1999, 1929, 70),
    }
    groups = {group["field"]: group["count"] for group in runs["hired_employees"].errors}
    assert groups == {"name": 19, "datetime": 14, "department_id": 21, "job_id": 16}


def test_the_counts_of_its_readme_come_out_of_the_table(tables: None) -> None:
    save_datasets()
    drop(("hired_employees", "jobs", "departments"))
    assert query(f"SELECT COUNT(*) FROM hired_employees WHERE {YEAR_2021}") == [(1643,)]
    groups = f"SELECT DISTINCT department_id, job_id FROM hired_employees WHERE {YEAR_2021}"
    assert query(f"SELECT COUNT(*) FROM ({groups}) g") == [(933,)]
    hires = query(
        "SELECT d.department, COUNT(*) FROM hired_employees e JOIN departments d ON d.id = e.department_id"
        f" WHERE {YEAR_2021} GROUP BY d.department ORDER BY 2 DESC"
    )
    mean = sum(count for _, count in hires) / len(hires)
    above = [(name, count) for name, count in hires if count > mean]
    assert round(mean, 2) == 136.92
    assert (len(above), above[0], above[-1]) == (7, ("Support", 216), ("Marketing", 142))


def test_the_same_files_again_load_nothing(tables: None, folder: Folder) -> None:
    save_datasets()
    first = drop(("departments", "jobs", "hired_employees"))
    again = drop(("departments", "jobs", "hired_employees"))
    assert {run.status for run in again.values()} == {Status.DUPLICATE}
    assert {name: run.duplicate_of_id for name, run in again.items()} == {name: run.pk for name, run in first.items()}
    assert query("SELECT COUNT(*) FROM hired_employees") == [(1929,)]
    assert list(folder.list("raw")) == []
    assert len(list(folder.list("processed"))) == 6


def test_the_report_names_every_rejected_row(tables: None, folder: Folder) -> None:
    save_datasets()
    run = drop(("departments", "jobs", "hired_employees"))["hired_employees"]
    head, *rows = [json.loads(line) for line in folder.path(run.report_key).read_text().splitlines()]
    assert head["run"]["rejected"] == len(rows) == 70
    assert rows[0]["raw"] == "2,Ty Hofer,2021-05-30T05:43:46Z,8,"
    assert [(error["field"], error["code"]) for error in rows[0]["errors"]] == [("job_id", "required")]
