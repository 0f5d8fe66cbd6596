"""The grid of a descriptor: what goes into the page comes back the same, and edits change what they name."""

from typing import Any

import pytest

from ingest.admin.editor import Cell, columns_of, inputs_of, is_gridable, moved, read_form, settings_of
from ingest.changes import changes

FULL: dict[str, Any] = {
    "name": "orders",
    "table": "orders",
    "mode": "upsert",
    "files": ["orders-*.csv", "shop/**"],
    "onError": {"percent": 2.5},
    "encoding": "cp1252",
    "dialect": {"delimiter": ";", "header": False, "quoteChar": None, "preamble": 2},
    "runColumn": False,
    "schema": {
        "fields": [
            {"name": "id", "type": "integer", "sqlType": "INT", "constraints": {"required": True, "minimum": 1}},
            {"name": "code", "case": "upper", "constraints": {"pattern": " [A-Z]", "maxLength": 2, "enum": ["A", "B"]}},
            {"name": "ordered", "type": "date", "format": "%d.%m.%Y", "aliases": ["order date"]},
            {"name": "when", "type": "date", "formats": ["%d.%m.%Y", "%Y-%m-%d"], "default": "2024-01-01"},
            {"name": "total", "type": "number", "decimalChar": ",", "constraints": {"minimum": 0.5, "maximum": "1e3"}},
            {"name": "paid", "type": "boolean", "trueValues": ["yes"], "falseValues": ["no"], "map": {"ja": "yes"}},
            {"name": "odd", "missingValues": ["-"], "map": {"a\nb": "c"}, "strip": True, "example": "x"},
        ],
        "primaryKey": ["id"],
        "uniqueKeys": [["code", "ordered"]],
        "foreignKeys": [{"fields": "code", "reference": {"resource": "", "fields": "id"}}],
        "missingValues": ["", "n/a"],
    },
}  # fmt: skip


def form_of(data: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, str]:
    """Return what a browser would post of the page."""
    columns = columns_of(data, headers or {})
    table, file, rest = settings_of(data)
    form = {"rest": rest, "count": str(len(columns))}

    def put(cell: Cell) -> None:
        if cell.input.widget != "check" or cell.checked:
            form[cell.name] = cell.text.replace("\n", "\r\n")

    for cell in [*table, *file]:
        put(cell)
    for column in columns:
        prefix = f"f{column.number}-"
        form |= {f"{prefix}name": column.name, f"{prefix}was": column.name, f"{prefix}rest": column.hidden}
        form |= {f"{prefix}header": column.header} | ({f"{prefix}key": "on"} if column.key else {})
        for cell in column.cells.values():
            put(cell)
    return form


@pytest.mark.parametrize("data", [FULL, {"name": "x", "schema": {"fields": [{"name": "a"}]}}])
def test_what_goes_into_the_page_comes_back(data: dict[str, Any]) -> None:
    assert read_form(form_of(data)) == data
    assert changes(data, read_form(form_of(data))) == []


def test_a_renamed_field_keeps_its_keys_and_its_name_in_the_files() -> None:
    form = form_of(FULL, {"id": "id", "code": "code"}) | {"f0-name": "number", "f1-name": "kind"}
    schema = read_form(form)["schema"]
    assert schema["primaryKey"] == ["number"]
    assert schema["uniqueKeys"] == [["kind", "ordered"]]
    assert schema["foreignKeys"] == [{"fields": "kind", "reference": {"resource": "", "fields": "number"}}]
    assert schema["fields"][0]["aliases"] == ["id"]


def test_rules_of_another_type_are_left_out() -> None:
    form = form_of(FULL) | {"f1-type": "integer", "f2-type": "string"}
    fields = read_form(form)["schema"]["fields"]
    assert fields[1]["constraints"] == {"enum": ["A", "B"]}
    assert "format" not in fields[2]


def test_nonsense_in_a_form_breaks_nothing() -> None:
    assert read_form({}) == {"dialect": {"header": False}, "schema": {"fields": []}}
    assert read_form(form_of(FULL) | {"count": "9" * 5000})["schema"]["fields"] == []
    assert read_form({"rest": '{"a":' * 500 + "1" + "}" * 500}) == read_form({})
    form = form_of(FULL) | {"rest": "[", "f0-rest": "7", "count": "²", "d-limit": "many"}
    assert read_form(form)["onError"] == {"rows": "many", "percent": 2.5}
    odds: list[Any] = [None, [], {"schema": 5}, {"schema": {"fields": ["a"]}}, {"schema": {"fields": [{"name": 1}]}}]
    for odd in odds:
        assert not is_gridable(odd)


def test_fields_are_moved_added_and_taken_out() -> None:
    def names(data: dict[str, Any]) -> list[str]:
        return [field["name"] for field in data["schema"]["fields"]]

    assert names(moved(FULL, "right", 0))[:2] == ["code", "id"]
    assert names(moved(FULL, "left", 0)) == names(FULL)
    assert names(moved(FULL, "remove", 6)) == names(FULL)[:-1]
    assert names(moved(FULL, "add", -1))[-1] == "column_8"


def test_what_no_input_shows_stays_in_the_rest() -> None:
    _, rest = inputs_of({"name": "x", "default": 5}, [], "d-")
    assert rest == {"name": "x", "default": 5}


def test_changes_are_told_in_sentences() -> None:
    after = moved(FULL, "remove", 6)
    after["schema"]["fields"][0] = {"name": "id", "type": "string", "constraints": {"required": True}}
    after["schema"]["fields"].append({"name": "new", "type": "date"})
    after["mode"] = "append"
    told = changes(FULL, after)
    assert "mode upsert → append" in told
    assert "new is new (date)" in told
    assert "odd is gone" in told
    assert "id: type integer → string" in told
    assert "id: minimum 1 → none" in told
