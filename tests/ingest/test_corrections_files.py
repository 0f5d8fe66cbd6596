"""Rejects that leave as a spreadsheet, are corrected there, and come back."""

import csv
import io
import random
import re
import shutil
import subprocess
import zipfile
from contextlib import suppress
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from django.contrib.auth import get_user_model
from hypothesis import given
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook

from ingest import corrections, export
from ingest.amending import edit
from ingest.descriptor import FieldDescriptor
from ingest.models import Run
from ingest.rejects import Choice
from ingest.sheets import SAFE_MARK, look_at, safe, take, unsafe
from ingest.sweeper import unfinished, work_off
from migration_console.lib.errors import Conflict, Refused
from tests.conftest import Loads, query

SOFFICE = shutil.which("soffice")
ORDERS: dict[str, Any] = {
    "name": "orders",
    "schema": {
        "fields": [
            {"name": "id", "type": "string", "constraints": {"pattern": "[0-9]{16}"}},
            {"name": "zip", "constraints": {"minLength": 5, "maxLength": 5}},
            {"name": "day", "type": "date"},
            {"name": "german", "type": "date", "format": "%d.%m.%Y"},
            {"name": "price", "type": "number", "sqlType": "DECIMAL(10,2)", "decimalChar": ","},
            {"name": "paid", "type": "boolean", "trueValues": ["ja"], "falseValues": ["nein"]},
            {"name": "note"},
            {"name": "n", "type": "integer"},
        ],
        "primaryKey": "id",
    },
}
HEAD = "id,zip,day,german,price,paid,note,n\n"
GOOD = '123456789012345{},01234,2024-01-31,31.01.2024,"1,50",ja,=1+1,{}\n'
FILE = HEAD + "".join(GOOD.format(at, bad) for at, bad in enumerate(["x", "7 ", "1e3"]))


def sent(run: Run) -> bytes:
    """Return the workbook of a run's rejects."""
    with export.as_xlsx(run, Choice()) as file:
        return file.read()


def book(run: Run) -> list[list[Any]]:
    """Return the cells of a run's rejects as they go out."""
    return CalamineWorkbook.from_filelike(io.BytesIO(sent(run))).get_sheet_by_index(0).to_python()


def written(rows: list[list[Any]]) -> io.BytesIO:
    """Return a workbook as somebody saves it: with numbers and dates where these were typed."""
    file = io.BytesIO()
    with xlsxwriter.Workbook(file) as made:
        sheet, day = made.add_worksheet("rejects"), made.add_format({"num_format": "yyyy-mm-dd"})
        moment = made.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        clock = made.add_format({"num_format": "hh:mm:ss"})
        for number, row in enumerate(rows):
            for column, cell in enumerate(row):
                if isinstance(cell, datetime):
                    sheet.write_datetime(number, column, cell, moment)
                elif isinstance(cell, time):
                    sheet.write_datetime(number, column, cell, clock)
                elif isinstance(cell, date):
                    sheet.write_datetime(number, column, datetime(cell.year, cell.month, cell.day), day)
                elif isinstance(cell, bool):
                    sheet.write_boolean(number, column, cell)
                elif isinstance(cell, str):
                    sheet.write_string(number, column, cell)
                else:
                    sheet.write_number(number, column, cell)
    file.seek(0)
    return file


@pytest.mark.database
def test_dates_zeros_and_long_ids_survive_the_trip(load: Loads) -> None:
    run = load(ORDERS, FILE)
    rows = book(run)
    assert look_at(run, written(rows), "same.xlsx").changed == 0
    at = rows[0].index("n")
    for number, cell in enumerate(["1", "2", "3"], start=1):
        rows[number][at] = cell
    found = take(run, written(rows), "better.xlsx")
    assert (found.changed, found.cells, found.passing) == (3, 3, 3)
    corrections.send(run)
    work_off(unfinished())
    assert query("SELECT id, zip, note, n FROM orders ORDER BY n") == [
        (f"123456789012345{n}", "01234", "=1+1", n + 1) for n in range(3)
    ]


@pytest.mark.skipif(SOFFICE is None, reason="there is no LibreOffice: apt-get install libreoffice-calc")
def test_what_libreoffice_saves_comes_back_unharmed(load: Loads, tmp_path: Path) -> None:
    assert SOFFICE is not None
    run = load(ORDERS, FILE)
    (tmp_path / "out.xlsx").write_bytes(sent(run))
    profile = f"-env:UserInstallation=file://{tmp_path}/profile"
    for kind, name in (("ods", "out.xlsx"), ("xlsx:Calc MS Excel 2007 XML", "out.ods")):
        call = [SOFFICE, profile, "--headless", "--convert-to", kind, "--outdir", str(tmp_path), str(tmp_path / name)]
        subprocess.run(call, check=True, capture_output=True, timeout=120)
    saved = (tmp_path / "out.xlsx").read_bytes()
    assert b"LibreOffice" in saved or saved != sent(run)
    assert look_at(run, io.BytesIO(saved), "out.xlsx").changed == 0
    rows = CalamineWorkbook.from_filelike(io.BytesIO(saved)).get_sheet_by_index(0).to_python()
    for number in (1, 2, 3):
        rows[number][rows[0].index("n")] = number
    assert take(run, written(rows), "better.xlsx").passing == 3


@pytest.mark.parametrize(
    ("column", "typed", "text"),
    [
        ("day", date(2024, 2, 29), "2024-02-29"),
        ("german", date(2024, 2, 29), "29.02.2024"),
        ("n", 1200, "1200"),
        ("n", -3.0, "-3"),
        ("price", 2.5, "2,5"),
        ("price", 0.0000001, "0,0000001"),
        ("paid", False, "nein"),
        ("note", 20240131, "20240131"),
        ("note", date(2024, 1, 31), "2024-01-31"),
        ("n", "", None),
    ],
)
def test_what_is_typed_into_a_cell_is_understood(load: Loads, column: str, typed: Any, text: str | None) -> None:
    run = load(ORDERS, FILE)
    rows = book(run)
    rows[1][rows[0].index(column)] = typed
    assert take(run, written(rows), "x.xlsx").changed == 1
    assert run.rejects.get(row=1).corrected == {column: text}


MOMENTS: dict[str, Any] = {
    "name": "moments",
    "schema": {
        "fields": [
            {"name": "n", "type": "integer"},
            {"name": "day", "type": "date"},
            {"name": "short", "type": "date", "format": "%d.%m.%y"},
            {"name": "either", "type": "date", "formats": ["%d.%m.%y", "%d.%m.%Y"]},
            {"name": "moment", "type": "datetime"},
            {"name": "minute", "type": "datetime", "format": "%d.%m.%Y %H:%M"},
            {"name": "second", "type": "datetime", "formats": ["%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S"]},
            {"name": "local", "type": "datetime", "timezone": "Europe/Berlin"},
            {"name": "clock", "type": "time", "format": "%H:%M"},
        ]
    },
}
MIDNIGHT = datetime(2024, 1, 31)
LATE = datetime(2024, 1, 31, 22, 15, 30)


@pytest.mark.parametrize(
    ("column", "typed", "text"),
    [
        ("short", date(2024, 3, 1), "01.03.24"),
        ("short", date(1950, 3, 1), None),
        ("either", date(1950, 3, 1), "01.03.1950"),
        ("day", MIDNIGHT, "2024-01-31"),
        ("day", LATE, None),
        ("moment", MIDNIGHT, "2024-01-31T00:00:00"),
        ("moment", date(2024, 1, 31), "2024-01-31T00:00:00"),
        ("moment", LATE, "2024-01-31T22:15:30"),
        ("minute", date(2024, 1, 31), "31.01.2024 00:00"),
        ("minute", LATE.replace(second=0), "31.01.2024 22:15"),
        ("minute", LATE, None),
        ("second", LATE, "31.01.2024 22:15:30"),
        ("local", LATE, "2024-01-31T22:15:30"),
        ("local", datetime(2024, 3, 31, 2, 30), "2024-03-31T02:30:00"),
        ("clock", time(22, 15), "22:15"),
        ("clock", time(22, 15, 30), None),
        ("day", time(22, 15), None),
    ],
)
def test_a_moment_comes_back_as_it_was_typed_or_is_told(load: Loads, column: str, typed: Any, text: str | None) -> None:
    names = [field["name"] for field in MOMENTS["schema"]["fields"]]
    run = load(MOMENTS, f"{','.join(names)}\nx{',' * (len(names) - 1)}\n")
    rows = book(run)
    rows[1][rows[0].index(column)] = typed
    found = take(run, written(rows), "x.xlsx")
    assert run.rejects.get().corrected == ({column: text} if text else None)
    assert [told[: len(column) + 7] for told in found.problems] == ([] if text else [f"Row 1, {column}"])


def test_sixteen_digits_in_a_number_cell_are_refused_not_guessed(load: Loads) -> None:
    run = load(ORDERS, FILE)
    rows = book(run)
    rows[1][rows[0].index("id")] = 1234567890123450
    found = take(run, written(rows), "x.xlsx")
    assert (found.changed, len(found.problems)) == (0, 1)
    assert "format the cell as text" in found.problems[0]


@pytest.mark.parametrize("shown", ["1.23457E+15", "1,23457E+15", "1E+15", "1.23456789012346E+015"])
def test_a_long_number_that_excel_has_shortened_in_csv_is_refused(load: Loads, shown: str) -> None:
    run = load(ORDERS, FILE)
    found = take(run, io.BytesIO(f'_row,id,note\n1,"{shown}",\n2,,"{shown}"\n'.encode()), "x.csv")
    assert len(found.problems) == 1
    assert found.problems[0].startswith("Row 1, id: ")
    assert "workbook" in found.problems[0]
    assert run.rejects.get(row=2).corrected == {"id": None, "note": shown}


@given(st.text(alphabet=st.sampled_from("'=+-@\t\r|%ax1 ＝"), max_size=8))
def test_what_is_safe_for_excel_is_undone_exactly(text: str) -> None:
    assert unsafe(safe(text)) == text
    assert safe(text)[:1] not in {*"=+-@\t\r|%＝"}


def test_csv_for_excel_runs_nothing_and_comes_back_unharmed(load: Loads) -> None:
    nasty = ["=cmd|' /C calc'!A0", "+44 123", "-1", "@SUM(1)", "'=quoted", "plain", '"x"', " lead"]
    quoted = ['"' + text.replace('"', '""') + '"' for text in nasty]
    lines = "".join(f'123456789012345{n},01234,,,"1,0",ja,{text},x\n' for n, text in enumerate(quoted))
    run = load(ORDERS, HEAD + lines)
    data = b"".join(export.as_csv(run, Choice(), safely=True))
    assert data.startswith(b"\xef\xbb\xbf")
    assert b",'=cmd" in data
    assert look_at(run, io.BytesIO(data), "safe.csv").changed == 0
    # Excel of a German machine saves it with semicolons.
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=";").writerows(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    better = text.getvalue().replace(";x;", ";9;")
    assert take(run, io.BytesIO(better.encode()), "safe.csv").passing == len(nasty)
    corrections.send(run)
    work_off(unfinished())
    assert [note for (note,) in query("SELECT note FROM orders ORDER BY id")] == nasty


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_a_column_with_an_underscore_in_front_comes_back_too(load: Loads, kind: str) -> None:
    fields = [{"name": "_id", "type": "integer"}, {"name": "n", "type": "integer"}]
    run = load({"name": "things", "schema": {"fields": fields, "primaryKey": "_id"}}, "_id,n\nx,1\n")
    rows = book(run)
    rows[1][rows[0].index("_id")] = "7"
    lines = "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows)
    found = take(run, io.BytesIO(lines.encode()) if kind == "csv" else written(rows), "x")
    assert (found.changed, found.passing) == (1, 1)


def test_our_own_columns_are_no_names_of_fields(load: Loads) -> None:
    with export.as_xlsx(load(ORDERS, FILE), Choice()) as file:
        head = CalamineWorkbook.from_filelike(io.BytesIO(file.read())).get_sheet_by_index(0).to_python()[0]
    ours = {*head} - {field["name"] for field in ORDERS["schema"]["fields"]}
    for name in {*ours, SAFE_MARK}:
        with pytest.raises(ValueError, match="reserved"):
            FieldDescriptor.model_validate({"name": name})


def as_csv_file(rows: list[list[Any]]) -> io.BytesIO:
    """Return CSV as a script writes it."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return io.BytesIO(text.getvalue().encode())


@pytest.mark.parametrize("file", [written, as_csv_file])
def test_what_others_correct_meanwhile_is_not_taken_back(load: Loads, file: Any) -> None:
    ann, bob = [get_user_model().objects.create_user(name) for name in ("ann", "bob")]
    run = load(ORDERS, FILE + "1,2\n")
    edit(run, 2, {"n": "20"}, user=bob)
    rows = book(run)
    at = {name: rows[0].index(name) for name in ("n", "note")}
    # Bob mends row 1 after it has gone out to Ann, row 2 a second time, and fills in what could not be cut.
    edit(run, 1, {"n": "11"}, user=bob)
    edit(run, 2, {"n": "21", "note": "bob's"}, user=bob)
    edit(run, 4, {"id": "4444444444444444", "zip": "44444"}, user=bob)
    was = list(run.rejects.order_by("row").values_list("corrected", flat=True))
    assert take(run, file(rows), "untouched", user=ann).changed == 0
    rows[1][at["note"]] = "ann's"
    rows[3][at["n"]] = "33"
    found = take(run, file(rows), "x", user=ann)
    # What row 2 was when it went out, nobody can tell from its mark.
    assert (found.changed, found.overtaken, found.same) == (2, [2], 1)
    assert run.rejects.get(row=1).corrected == {"n": "11", "note": "ann's"}
    assert [run.rejects.get(row=row).corrected for row in (2, 4)] == [was[1], was[3]]
    # The same file once more: her own cells she may change again, Bob's she does not know.
    rows[3][at["n"]] = "34"
    rows[2][at["n"]] = "22"
    edit(run, 1, {"note": "bob's"}, user=bob)
    rows[1][at["note"]] = "ann's again"
    found = take(run, file(rows), "x", user=ann)
    assert (found.changed, found.overtaken, found.same) == (1, [1, 2], 1)
    assert [(run.rejects.get(row=row).corrected or {})["n"] for row in (1, 2, 3)] == ["11", "21", "34"]
    assert look_at(run, file(rows), "x", user=ann).overtaken == [1, 2]


def test_without_a_mark_a_cell_as_it_came_is_untouched(load: Loads) -> None:
    run = load(ORDERS, FILE)
    edit(run, 1, {"n": "11"})
    edit(run, 3, {"n": "13"})
    found = take(run, io.BytesIO(b"_row,n\n1,x\n2,22\n3,33\n"), "x.csv")
    assert (found.changed, found.same, found.overtaken) == (2, 1, [])
    assert [run.rejects.get(row=row).corrected for row in (1, 2, 3)] == [{"n": "11"}, {"n": "22"}, {"n": "33"}]


def test_a_script_does_not_take_back_what_is_corrected_meanwhile(load: Loads) -> None:
    run = load(ORDERS, FILE)
    lines = b"".join(export.as_csv(run)).replace(b",x,", b",1,")
    edit(run, 1, {"n": "11"})
    rows = corrections.read_csv(io.BytesIO(lines), 10)
    with pytest.raises(Conflict, match="row 1 since"):
        corrections.resubmit(run, rows, sheet=True)
    del rows[1]
    edit(run, 2, {"n": "2", "note": "hers"})
    corrections.resubmit(run, rows, sheet=True)
    assert run.rejects.get(row=2).corrected == {"n": "2", "note": "hers"}


def test_rows_that_are_gone_are_named_and_left_out(load: Loads) -> None:
    run = load(ORDERS, FILE)
    run.rejects.filter(row=1).update(state="dismissed")
    data = b"_row,n\n1,1\n2,2\n77,3\n"
    found = take(run, io.BytesIO(data), "x.csv")
    assert (found.changed, found.gone) == (1, [1, 77])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04junk", "cannot be read as an Excel workbook"),
        (b"_row,n\n1,2\n1,3\n", "there twice"),
        (b"_row,other\n1,2\n", "no column 'other'"),
        (b"\xff\xfe", "neither an Excel workbook nor CSV"),
        (b"n\n1\n", "_row among them"),
        (b"_row,n\n", "no row below"),
    ],
)
def test_a_file_that_is_something_else_is_refused(load: Loads, data: bytes, words: str) -> None:
    run = load(ORDERS, FILE)
    with pytest.raises(Refused, match=words):
        take(run, io.BytesIO(data), "x")
    assert set(run.rejects.values_list("state", flat=True)) == {"open"}


def test_a_row_that_cannot_be_cut_goes_out_empty_beside_its_text(load: Loads) -> None:
    run = load(ORDERS, HEAD + "1,2,3\n")
    rows = book(run)
    assert (rows[1][2:10], rows[1][-1]) == ([""] * 8, "1,2,3")
    assert look_at(run, written(rows), "x.xlsx").changed == 0


def stray(place: str, text: str = "1") -> bytes:
    """Return a workbook with a cell far outside."""
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True}) as workbook:
        sheet = workbook.add_worksheet("rejects")
        sheet.write_row(0, 0, ["_row", "id"])
        sheet.write_string(place, text)
    return file.getvalue()


def repacked(data: bytes, part: str, before: bytes, after: bytes) -> io.BytesIO:
    """Return a workbook with other bytes in one part."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            assert name != part or before in content
            new.writestr(name, content.replace(before, after) if name == part else content)
    file.seek(0)
    return file


@pytest.mark.parametrize("word", [b"NaN", b"inf", b"-Infinity"])
def test_what_is_no_number_in_a_number_cell_is_told(load: Loads, word: bytes) -> None:
    run = load(ORDERS, FILE)
    data = written([["_row", "n"], ["2", 77]]).getvalue()
    found = look_at(run, repacked(data, "xl/worksheets/sheet1.xml", b">77<", b">" + word + b"<"), "x.xlsx")
    assert found.changed == 0
    assert "which is no number" in found.problems[0]


def test_a_damaged_workbook_is_refused_or_read_never_an_error(load: Loads) -> None:
    run, damage = load(ORDERS, FILE), random.Random(7)
    whole = sent(run)
    # Stored, a damaged byte is one of the XML; packed, one of the packing.
    plain = repacked(whole, "xl/styles.xml", b"<", b"<").getvalue()
    for data in (whole, plain):
        for _ in range(100):
            at = damage.randrange(len(data))
            hurt = data[:at] if damage.random() < 0.3 else data[:at] + damage.randbytes(1) + data[at + 1 :]
            with suppress(Refused):
                look_at(run, io.BytesIO(hurt), "x.xlsx")


def test_a_workbook_without_a_sheet_is_refused(load: Loads) -> None:
    data = written([["_row"], ["2"]]).getvalue()
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        sheets = re.search(rb"<sheets>.*</sheets>", packed.read("xl/workbook.xml"))
    assert sheets is not None
    with pytest.raises(Refused, match="cannot be read as an Excel workbook"):
        look_at(load(ORDERS, FILE), repacked(data, "xl/workbook.xml", sheets[0], b"<sheets/>"), "x.xlsx")


@pytest.mark.parametrize("place", ["XFD1048576", "ZZ100000"])
def test_a_stray_cell_far_outside_is_refused(load: Loads, place: str) -> None:
    run = load(ORDERS, FILE)
    with pytest.raises(Refused, match="delete what is far outside the table"):
        take(run, io.BytesIO(stray(place)), "x")


def test_what_only_says_to_be_a_workbook_is_refused(load: Loads) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("content.xml", "<x/>")
    file.seek(0)
    with pytest.raises(Refused, match="no Excel workbook"):
        take(load(ORDERS, FILE), file, "x")


def test_a_workbook_that_unpacks_to_too_much_is_refused(load: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.sheets.MAX_UNPACKED", 100_000)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/workbook.xml", "<workbook/>")
        packed.writestr("xl/worksheets/sheet1.xml", " " * 200_000)
    file.seek(0)
    with pytest.raises(Refused, match="unpacks to more than"):
        take(load(ORDERS, FILE), file, "x")
