"""A rejected row as cells: as it came, as it stands with its corrections, and what is wrong with it still."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from migration_console.lib.errors import Refused, conflict

from .errors import RowError, row_error
from .models import Reject, Run
from .reader import Layout, Record, Scanner
from .survey import layout_of, stored_survey

Texts = dict[str, str | None]
MANY = 5000
# What only the database can say of a row: its rules let these pass.
BY_THE_DATABASE = {"duplicate-key", "foreign-key", "check", "refused-by-database"}
BLANK = "A row of one column without a value would be an empty line, which is no row; give a value, or dismiss the row."


class Cells:
    """Reads the rejects of one run by the schema that cut its file, and judges them by the dataset's newest one."""

    def __init__(self, run: Run) -> None:
        if run.schema_version is None or run.dataset is None or not run.survey:
            raise conflict("not-surveyed", f"{run} has not been read yet; it has no rejects")
        self.version = run.dataset.current
        self.schema = self.version.schema
        self.found = stored_survey(run.survey)
        self.layout = layout_of(run.version_schema, self.found.encoding)
        self._scanner = Scanner(self.layout)
        self._empties = {c.name: None if c.empty_is_null else "" for c in self.schema.columns}
        # The newest schema may have renamed a column, its old name an alias.
        self._newest = {word: c.name for c in self.schema.columns for word in (c.name, *c.field.aliases)}
        places = self.found.columns
        spoken = {c.name: [w for w in (c.name, *c.field.aliases) if w in places] for c in self.schema.columns}
        self._places = {name: places[words[0]] for name, words in spoken.items() if words}
        # A page of rejects is asked for again and again; the bytes never change.
        self._came: dict[int, Texts | None] = {}

    @property
    def names(self) -> list[str]:
        """Return the columns of the newest schema."""
        return self.schema.names

    def original(self, reject: Reject) -> Texts | None:
        """Return the fields as they came, by column; None where the bytes are not all here, or no row of fields."""
        if reject.pk not in self._came:
            if len(self._came) > MANY:
                self._came.clear()
            self._came[reject.pk] = self._cut(reject) if reject.is_whole else None
        return self._came[reject.pk]

    def _cut(self, reject: Reject) -> Texts | None:
        record = self._record(self._scanner, bytes(reject.raw))
        if record is None or record.code or len(record.fields) != self.found.width:
            return None
        return self._by_name(record.fields)

    def guess(self, reject: Reject) -> Texts | None:
        """Return what the fields of a row that could not be cut may have been, for a person to look at."""
        if not reject.is_whole:
            return None
        raw = bytes(reject.raw)
        other = Layout(delimiter=self.layout.delimiter, quote=self.layout.quote, encoding="cp1252")
        for layout in (self.layout, other):
            record = self._record(Scanner(layout), raw)
            if record is not None and not record.code:
                return self._by_name(record.fields)
        text = reject.text.rstrip("\r\n")
        quote = self.layout.quote or ""
        return self._by_name([field.strip(quote) or None for field in text.split(self.layout.delimiter)])

    def current(self, reject: Reject) -> Texts | None:
        """Return the fields with their corrections; None for a row without fields that nobody has corrected.

        A correction of a column that is gone stays among them, so that no row goes on without it unseen.
        """
        came = self.original(reject)
        if came is None and not reject.corrected:
            return None
        merged = {**(came or {}), **self.renamed(reject.corrected or {})}
        return {name: as_text(merged.get(name)) for name in dict.fromkeys([*self.names, *merged])}

    def renamed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values by the newest names of their columns; what has the newest name counts before older ones."""
        older = {self._newest.get(name, name): value for name, value in values.items()}
        return {**older, **{name: value for name, value in values.items() if self._newest.get(name) == name}}

    def judge(self, values: Mapping[str, str | None]) -> list[RowError]:
        """Return every reason against a row, but for what only the database knows: keys, and its own checks."""
        row = {name: self._empties[name] if values.get(name) is None else values[name] for name in self.names}
        return self._homeless(values) + self.schema.check(row)[1] + self._unwritable(values)

    def _homeless(self, values: Mapping[str, str | None]) -> list[RowError]:
        """Return what was corrected in a column that the newest schema does not know, by any name."""
        gone = {name: value for name, value in values.items() if name not in self._empties}
        told = "The dataset has no column {!r} any more: list it among the aliases of its new name, or restore it here."
        return [row_error(name, "unknown-column", told.format(name), value) for name, value in gone.items()]

    def _unwritable(self, values: Mapping[str, str | None]) -> list[RowError]:
        """Return what no file of the dataset can hold: the corrected rows become one."""
        encoding, dialect = self.schema.descriptor.encoding, self.schema.descriptor.dialect
        wrong = []
        for name, value in values.items():
            try:
                (value or "").encode(encoding)
            except UnicodeEncodeError as error:
                sign = (value or "")[error.start]
                message = f"“{sign}” (U+{ord(sign):04X}) does not fit the encoding of the dataset's files, {encoding}."
                wrong.append(row_error(name, "invalid-encoding", message, value))
            if dialect.quote_char is None and any(mark in (value or "") for mark in (dialect.delimiter, "\n", "\r")):
                message = "The value holds the delimiter or a line end, and the dataset's files have no quotes."
                wrong.append(row_error(name, "quote", message, value))
        if len(self.names) == 1 and is_blank([values.get(self.names[0])], dialect.quote_char):
            wrong.append(row_error(self.names[0], "blank-line", BLANK, values.get(self.names[0])))
        return wrong

    def _by_name(self, fields: list[str | None]) -> Texts:
        return {name: fields[at] if at < len(fields) else None for name, at in self._places.items()}

    @staticmethod
    def _record(scanner: Scanner, raw: bytes) -> Record | None:
        try:
            return next(scanner.strict(raw, 0, len(raw), final=True), None)
        except Refused:
            return None


def marked(errors: Iterable[RowError], names: Sequence[str]) -> list[str]:
    """Return the columns that errors are about; a key's error names all of its columns."""
    fields = {error["field"] for error in errors}
    parts = {part for field in fields - set(names) for part in field.split(",")}
    return [name for name in names if name in fields | parts]


def is_blank(row: Sequence[str | None], quote: str | None) -> bool:
    """Tell whether a row would be an empty line of a file: the reader drops it at the end, and refuses it elsewhere."""
    return len(row) == 1 and (row[0] is None or (quote is None and row[0] == ""))


def as_text(value: object) -> str | None:
    """Return a corrected value as the file will hold it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None or isinstance(value, str) else str(value)
