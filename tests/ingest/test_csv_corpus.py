"""Every line of "What a CSV may hold" has a small file in tests/data/csv, and ends as it says there."""

from pathlib import Path
from typing import Any

import pytest

from ingest.errors import HINTS
from ingest.models import Status
from tests.conftest import Loads, codes, query

pytestmark = pytest.mark.database
FILES = Path(__file__).resolve().parent.parent / "data" / "csv"
REQUIRED = {"required": True}
FIELDS: dict[str, dict[str, Any]] = {
    "id": {"name": "id", "type": "integer", "constraints": REQUIRED},
    "name": {"name": "name", "type": "string", "constraints": {"maxLength": 20}},
    "born": {"name": "born", "type": "date"},
    "amount": {"name": "amount", "type": "number", "sqlType": "DECIMAL(10,2)"},
    "active": {"name": "active", "type": "boolean"},
}


def users(field: dict[str, Any] | None = None, schema: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """Return the descriptor of users, one field and some keys changed."""
    fields = {name: dict(default) for name, default in FIELDS.items()}
    if field:
        fields[field["name"]] |= field
    return {"name": "users", "schema": {"fields": list(fields.values()), "primaryKey": "id", **(schema or {})}, **keys}


def events(**field: Any) -> dict[str, Any]:
    """Return the descriptor of events, each at a moment."""
    fields = [FIELDS["id"], {"name": "at", "type": "datetime", **field}]
    return {"name": "events", "schema": {"fields": fields, "primaryKey": "id"}}


# file → rows loaded
LOADED: list[tuple[str, int, dict[str, Any]]] = [
    ("users-plain.csv", 2, users()),
    ("users-header-only.csv", 0, users()),
    ("users-no-final-newline.csv", 2, users()),
    ("users-blank-lines-at-end.csv", 2, users()),
    ("users-bom.csv", 2, users()),
    ("users-utf16.csv", 2, users(encoding="utf-16")),
    ("users-utf32.csv", 2, users(encoding="utf-32")),
    ("users-latin1.csv", 2, users(encoding="latin-1")),
    ("users-crlf.csv", 2, users()),
    ("users-cr.csv", 2, users()),
    ("users-mixed-line-ends.csv", 3, users()),
    ("users-quoted-newline.csv", 2, users()),
    ("users-semicolons.csv", 2, users(dialect={"delimiter": ";"})),
    ("users-unknown-column.csv", 1, users(unknownColumns="ignore")),
    ("users-header-alias.csv", 1, users({"name": "name", "aliases": ["full_name"]})),
    ("users-other-order.csv", 1, users()),
    ("users-no-header.csv", 2, users(dialect={"header": False})),
    ("users-preamble.csv", 2, users(dialect={"preamble": 2})),
    ("users-footer.csv", 2, users(dialect={"footer": 1})),
    ("users-gzip.csv.gz", 2, users()),
    ("users-gzip-two-members.csv.gz", 2, users()),
    ("users-gzip-named-csv.csv", 2, users()),
    ("users-control-character.csv", 4, users({"name": "name", "controlCharacters": "allow"})),
    ("users-bare-quote.csv", 3, users(dialect={"bareQuote": "literal"})),
    ("users-empty-and-quoted-empty.csv", 2, users()),
    ("users-null-words.csv", 4, users()),
    ("users-spaces-in-text.csv", 1, users()),
    ("users-leading-zeros-in-text.csv", 2, users()),
    ("users-slashed-date.csv", 2, users({"name": "born", "format": "%d/%m/%Y"})),
    ("events-dst-gap.csv", 4, events()),
    ("users-formulas.csv", 5, users()),
]

# file → rows loaded, and the codes of each row set aside
SET_ASIDE: list[tuple[str, int, dict[int, list[str]], dict[str, Any]]] = [
    ("users-blank-line-inside.csv", 2, {2: ["blank-line"]}, users()),
    ("users-utf16-lone-surrogate.csv", 2, {2: ["invalid-encoding"]}, users(encoding="utf-16")),
    ("users-cp1252-undefined-byte.csv", 2, {2: ["invalid-encoding"]}, users(encoding="cp1252")),
    ("users-no-header-one-short-row.csv", 2, {3: ["short-row"]}, users(dialect={"header": False})),
    ("users-invalid-utf8.csv", 2, {2: ["invalid-encoding"]}, users()),
    ("users-overlong-utf8.csv", 2, {2: ["invalid-encoding"]}, users()),
    ("users-utf8-surrogate.csv", 1, {2: ["invalid-encoding"]}, users()),
    ("users-nul.csv", 2, {2: ["control-character"]}, users()),
    ("users-nul.csv", 2, {2: ["control-character"]}, users({"name": "name", "controlCharacters": "allow"})),
    ("users-control-character.csv", 2, {2: ["control-character"], 3: ["control-character"]}, users()),
    ("users-text-after-quote.csv", 2, {2: ["quote"]}, users()),
    ("users-bare-quote.csv", 2, {2: ["quote"]}, users()),
    ("users-stray-quote.csv", 2, {1: ["quote"]}, users()),
    ("users-short-row.csv", 2, {2: ["short-row"]}, users()),
    ("users-long-row.csv", 2, {2: ["long-row"], 3: ["long-row"]}, users()),
    ("users-spaces-around-number.csv", 0, {1: ["not-a-number"], 2: ["not-an-integer"]}, users()),
    ("users-odd-integers.csv", 1, {row: ["not-an-integer"] for row in range(1, 9)}, users()),
    ("users-grouped-numbers.csv", 1, {1: ["not-a-number"], 2: ["not-a-number"]}, users()),
    ("users-grouped-numbers.csv", 2, {2: ["not-a-number"]}, users({"name": "amount", "groupChar": ","})),
    ("users-grouped-numbers.csv", 1, {1: ["not-a-number"], 3: ["not-a-number"]},
     users({"name": "amount", "groupChar": ".", "decimalChar": ","})),
    ("users-too-many-digits.csv", 2, {1: ["too-many-digits"], 2: ["too-many-decimals"]}, users()),
    ("users-out-of-range.csv", 2, {1: ["out-of-range"]}, users()),
    ("users-out-of-range.csv", 1, {1: ["out-of-range"], 2: ["out-of-range"]},
     users({"name": "id", "sqlType": "INT UNSIGNED"})),
    ("users-nan-and-inf.csv", 0, {row: ["not-a-number"] for row in (1, 2, 3)}, users()),
    ("users-impossible-dates.csv", 1, {row: ["not-a-date"] for row in (1, 2, 4)}, users()),
    ("users-slashed-date.csv", 0, {row: ["not-a-date"] for row in (1, 2)}, users()),
    ("users-two-digit-year.csv", 0, {row: ["not-a-date"] for row in (1, 2)}, users()),
    ("events-impossible-times.csv", 2, {1: ["not-a-datetime"], 2: ["not-a-datetime"]}, events()),
    ("events-timestamp-range.csv", 2, {1: ["out-of-range"], 2: ["out-of-range"]}, events(sqlType="TIMESTAMP")),
    ("events-dst-gap.csv", 2, {1: ["nonexistent-time"], 2: ["ambiguous-time"]}, events(timezone="Europe/Berlin")),
    ("events-dst-gap.csv", 3, {1: ["nonexistent-time"]}, events(timezone="Europe/Berlin", ambiguous="later")),
    ("events-fractions.csv", 1, {1: ["too-many-decimals"], 3: ["too-many-decimals"]}, events(sqlType="DATETIME")),
    ("events-fractions.csv", 2, {3: ["too-many-decimals"]}, events()),
    ("users-boolean-words.csv", 1, {1: ["not-a-boolean"], 2: ["not-a-boolean"]}, users()),
    ("users-boolean-words.csv", 2, {3: ["not-a-boolean"]},
     users({"name": "active", "trueValues": ["yes"], "falseValues": ["no"]})),
    ("users-too-long.csv", 2, {1: ["too-long"]}, users()),
    ("users-four-byte-character.csv", 1, {1: ["character-set"]},
     users({"name": "name", "sqlType": "VARCHAR(20) CHARACTER SET utf8mb3"})),
    ("users-enum-case.csv", 1, {2: ["not-in-list"], 3: ["not-in-list"]},
     users({"name": "name", "sqlType": "ENUM('red','green')"})),
    ("users-duplicate-key.csv", 2, {3: ["duplicate-key"]}, users()),
    ("users-all-reasons.csv", 0,
     {1: ["not-an-integer", "too-long", "not-a-date", "too-many-decimals", "not-a-boolean"]},
     users()),
]  # fmt: skip

# file → the code of the refusal, and a piece of its sentence
REFUSED: list[tuple[str, str, str, dict[str, Any]]] = [
    ("users-empty-file.csv", "empty-file", "0 bytes", users()),
    ("users-utf16.csv", "encoding", "UTF-16", users()),
    ("users-utf32.csv", "encoding", "UTF-32", users()),
    ("users-plain.csv", "encoding", "reads as UTF-8: set", users(encoding="utf-16")),
    ("users-plain.csv", "encoding", "reads as UTF-8: set", users(encoding="utf-32-le")),
    ("users-quote-never-closed.csv", "unclosed-quote", "never closed", users()),
    ("users-field-over-1-mib.csv", "field-too-long", "1 MiB", users()),
    ("users-semicolons.csv", "delimiter", "';'", users()),
    ("users-duplicate-header.csv", "duplicate-header", "'name' is there 2 times", users()),
    ("users-empty-header.csv", "empty-header", "column 3", users()),
    ("users-missing-column.csv", "missing-column", "'amount'", users()),
    ("users-unknown-column.csv", "unknown-column", "'shoe'", users()),
    ("users-header-other-case.csv", "missing-column", "capitals", users()),
    ("users-header-spaces.csv", "missing-column", "spaces", users()),
    ("users-header-nearest.csv", "missing-column", "'nmae'", users()),
    ("users-no-header.csv", "missing-column", "'id'", users()),
    ("users-plain.csv", "header", "has a header", users(dialect={"header": False})),
    ("users-no-header-too-wide.csv", "width", "6 fields", users(dialect={"header": False})),
    ("users-header-repeated.csv", "repeated-header", "again", users()),
    ("users-preamble.csv", "preamble", "line 3", users()),
    ("users-footer.csv", "footer", "Total", users()),
    ("users-trailing-delimiter.csv", "empty-header", "end in a delimiter", users()),
    ("users-4097-columns.csv", "too-many-columns", "4096", users()),
    ("users-gzip-truncated.csv.gz", "gzip-truncated", "middle", users()),
    ("users-gzip-bad-crc.csv.gz", "gzip-damaged", "damaged", users()),
    ("users-gzip-bomb.csv.gz", "gzip-ratio", "100 times", users()),
    ("users-zip.csv", "not-csv", "zip", users()),
    ("users-html.csv", "not-csv", "web page", users()),
    ("users-pdf.csv", "not-csv", "PDF", users()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "rows", "descriptor"), LOADED, ids=[case[0] for case in LOADED])
def test_is_loaded(load: Loads, name: str, rows: int, descriptor: dict[str, Any]) -> None:
    run = load(descriptor, (FILES / name).read_bytes(), name)
    assert (run.status, run.loaded, run.rejected) == (Status.ARCHIVED, rows, 0), (run.problems, run.errors)
    assert query(f"SELECT COUNT(*) FROM {descriptor['name']}") == [(rows,)]
    assert run.archived_key.startswith("processed/")


@pytest.mark.parametrize(("name", "rows", "expected", "descriptor"), SET_ASIDE, ids=[case[0] for case in SET_ASIDE])
def test_rows_are_set_aside(
    load: Loads, name: str, rows: int, expected: dict[int, list[str]], descriptor: dict[str, Any]
) -> None:
    run = load(descriptor, (FILES / name).read_bytes(), name)
    assert codes(run) == expected
    assert (run.status, run.loaded, run.rejected) == (Status.ARCHIVED, rows, len(expected))
    assert query(f"SELECT COUNT(*) FROM {descriptor['name']}") == [(rows,)]
    for error in (error for reject in run.rejects.all() for error in reject.errors):
        assert error["code"] in HINTS
        assert error["message"].endswith(".")


@pytest.mark.parametrize(("name", "code", "words", "descriptor"), REFUSED, ids=[case[0] for case in REFUSED])
def test_is_refused_whole(load: Loads, name: str, code: str, words: str, descriptor: dict[str, Any]) -> None:
    run = load(descriptor, (FILES / name).read_bytes(), name)
    assert run.status == Status.REFUSED
    found = [problem for problem in run.problems if problem["code"] == code]
    assert any(words in problem["message"] or words in problem["where"] for problem in found), run.problems
    assert (run.loaded, run.batches.count(), run.rejects.count()) == (0, 0, 0)
    assert run.archived_key.startswith("errors/")


def test_every_file_of_the_corpus_is_tried() -> None:
    tried = {case[0] for case in [*LOADED, *SET_ASIDE, *REFUSED]} | {"children-orphan.csv"}
    assert {path.name for path in FILES.iterdir()} == tried
