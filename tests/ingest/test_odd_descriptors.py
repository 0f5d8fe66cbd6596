"""A descriptor with anything anywhere: the draft's page says what is wrong with it, and where; it never breaks."""

import copy
from collections.abc import Iterator
from typing import Any

import orjson
from django.test import Client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingest.admin.editor import is_gridable
from ingest.models import Draft
from tests.ingest.test_editor import form_of

FULL: dict[str, Any] = {
    "name": "orders", "table": "orders", "mode": "upsert", "publish": "whole", "files": ["orders-*.csv", "shop/**"],
    "onError": {"percent": 2.5, "rows": 3}, "encoding": "utf-8", "unknownColumns": "ignore", "duplicates": "load",
    "runColumn": False, "path": "x.csv", "title": "t", "sources": [{"title": "x"}],
    "dialect": {"delimiter": ";", "header": True, "quoteChar": '"', "preamble": 0, "footer": 0, "bareQuote": "refuse",
                "doubleQuote": True, "lineTerminator": "\n", "quotedEmpty": "text"},
    "schema": {
        "fields": [
            {"name": "id", "type": "integer", "sqlType": "INT", "constraints": {"required": True, "minimum": 1}},
            {"name": "code", "case": "upper", "strip": True, "aliases": ["c"], "map": {"a": "b"}, "default": "A",
             "constraints": {"pattern": "[A-Z]", "maxLength": 2, "minLength": 1, "enum": ["A", "B"], "unique": True}},
            {"name": "day", "type": "date", "format": "%d.%m.%Y", "formats": ["%Y-%m-%d"], "timezone": "Europe/Berlin",
             "constraints": {"minimum": "2020-01-01", "maximum": "2030-01-01", "enum": ["2024-01-01"]}},
            {"name": "total", "type": "number", "decimalChar": ",", "groupChar": ".", "bareNumber": True,
             "constraints": {"minimum": 0.5, "maximum": "1000"}, "missingValues": ["", "-"]},
            {"name": "paid", "type": "boolean", "trueValues": ["yes"], "falseValues": ["no"]},
            {"name": "more", "type": "object", "ambiguous": "refuse", "controlCharacters": "allow", "example": 1},
        ],
        "primaryKey": ["id"],
        "uniqueKeys": [["code", "day"]],
        "foreignKeys": [{"fields": "code", "reference": {"resource": "", "fields": "id"}}],
        "missingValues": ["", "n/a"],
    },
}  # fmt: skip
SAMPLE = b'id;code;day;total;paid;more\n1;A;01.02.2024;"1,5";yes;{}\nx;y;z;;maybe;[]\n'


def places(data: Any) -> Iterator[tuple[str | int, ...]]:
    """Yield where values stand in a descriptor."""
    found = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else []
    for key, value in found:
        yield (key,)
        yield from ((key, *rest) for rest in places(value))


def replaced(place: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """Return the descriptor with another value at one place."""
    data = copy.deepcopy(FULL)
    at: Any = data
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    return data


# As much as JSON can say; numbers are those that JSON's readers agree about.
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.sampled_from(["", "id", "%d.%d.%Y", "[", "utf-16", "fields", "\0"]) | st.text(max_size=5)
ANYTHING = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from([*places(FULL)]), value=ANYTHING)
@example(place=("schema", "primaryKey"), value=5)
@example(place=("schema", "primaryKey"), value=True)
@example(place=("schema", "missingValues", 1), value=["x"])
@example(place=("schema", "fields", 1, "aliases"), value=5)
@example(place=("schema", "fields", 1, "aliases"), value=[["c"]])
@example(place=("schema", "fields", 2, "format"), value="%d.%d.%Y")
@example(place=("encoding",), value="utf-16")
def test_a_wrong_value_anywhere_is_a_mistake_never_an_error(
    tables: None, admin_client: Client, place: tuple[str | int, ...], value: Any
) -> None:
    data = replaced(place, value)
    draft = Draft.objects.create(descriptor=FULL, sample=SAMPLE)
    address = f"/admin/ingest/dataset/draft/{draft.pk}/"
    said = {"source": "json", "json": orjson.dumps(data).decode()}
    assert admin_client.post(address, said).status_code == 200
    assert admin_client.get(address).status_code == 200
    if is_gridable(data):
        assert admin_client.post(address, form_of(data)).status_code == 200
    # Whatever it was, another descriptor can be said instead.
    right = {"source": "json", "json": orjson.dumps(FULL).decode(), "do": "grid"}
    assert "f0-name" in admin_client.post(address, right).content.decode()


def test_a_mistake_is_told_at_its_place(tables: None, admin_client: Client) -> None:
    draft = Draft.objects.create(descriptor=FULL, sample=SAMPLE)
    for place in [("schema", "primaryKey"), ("schema", "fields", 1, "aliases"), ("schema", "missingValues", 1)]:
        said = {"source": "json", "json": orjson.dumps(replaced(place, 5)).decode()}
        page = admin_client.post(f"/admin/ingest/dataset/draft/{draft.pk}/", said).content.decode()
        assert "/".join(map(str, place)) in page
