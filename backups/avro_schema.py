"""MySQL columns as Avro fields: how each is read, what it is in the file, how it goes back. Without Django.

What is not obvious about a type is said where it is decided; the whole table is in docs/backups.md.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Kind = Literal["int", "long", "decimal", "double", "bytes", "string", "date", "datetime", "timestamp", "time"]

INTEGERS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json"}
TEXTS |= {"inet4", "inet6", "uuid"}  # MariaDB's own
BINARIES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector"}
GEOMETRIES = {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"}
GEOMETRIES |= {"geometrycollection", "geomcollection"}
# Columns of which one value may be large: rows of such a table are fetched a few at a time.
UNBOUNDED = {"text", "mediumtext", "longtext", "blob", "mediumblob", "longblob", "json", "vector", *GEOMETRIES}

TYPE = re.compile(
    r"(?P<base>[a-z0-9]+)(?: precision)?(?:\((?P<arguments>.*)\))?(?P<rest>.*)", re.IGNORECASE | re.DOTALL
)
EPOCH = "1970-01-01"
# Microseconds since 1970 on the clock of the column; by the server, which knows what it stores.
MICROSECONDS = f"TIMESTAMPDIFF(MICROSECOND, '{EPOCH}', {{0}})"
# TIME runs to ±838:59:59: no time of day, but a signed count.
TIME = "IF({0} < 0, -1, 1) * ((HOUR({0}) * 3600 + MINUTE({0}) * 60 + SECOND({0})) * 1000000 + MICROSECOND({0}))"
LOGICAL: dict[str, Any] = {
    "date": {"type": "int", "logicalType": "date"},
    # Not timestamp-micros: a DATETIME has no time zone, and readers would shift it.
    "datetime": {"type": "long", "logicalType": "local-timestamp-micros"},
    "timestamp": {"type": "long", "logicalType": "timestamp-micros"},
    "time": "long",
}
# What the bytes of a field are, whatever they mean.
PHYSICAL = {"decimal": "bytes", "date": "int", "datetime": "long", "timestamp": "long", "time": "long"}


@dataclass(frozen=True)
class Column:
    """A column of a backup. `select` and `insert` are SQL around the name, or the value, in {0}."""

    name: str
    avro_name: str
    type: str
    kind: Kind
    nullable: bool
    precision: int = 0
    scale: int = 0
    select: str = "{0}"
    insert: str = ""

    @property
    def physical(self) -> str:
        """Return the Avro type without its meaning: int, long, double, bytes or string."""
        return PHYSICAL.get(self.kind, self.kind)

    @property
    def unbounded(self) -> bool:
        """Tell whether one value may be large."""
        return base_of(self.type) in UNBOUNDED

    @property
    def most_bytes(self) -> int:
        """Return how many bytes a value takes at most; of an unbounded one, how many it takes often."""
        match = TYPE.match(self.type)
        length = match["arguments"] if match and self.kind in {"string", "bytes"} else None
        return 4 * int(length) if length and length.isdecimal() else 256

    @property
    def may_be_odd(self) -> bool:
        """Tell whether the column may hold dates that are none, such as 0000-00-00."""
        return self.kind in {"date", "datetime", "timestamp"}

    def as_dict(self) -> dict[str, Any]:
        """Return the column as the manifest holds it."""
        return asdict(self)


def base_of(kind: str) -> str:
    """Return the first word of a column type."""
    match = TYPE.match(kind)
    return match["base"].lower() if match else kind.lower()


def mysql_column(name: str, kind: str, *, nullable: bool) -> Column:
    """Return how a MySQL column type, as information_schema writes it, is kept; ValueError where it cannot be."""
    match = TYPE.match(kind)
    base = base_of(kind)
    column = Column(name, name, kind, "string", nullable)
    if match is None:
        raise ValueError(f"the type {kind} is not known")
    unsigned, arguments = "unsigned" in match["rest"].lower(), match["arguments"] or ""
    if base in INTEGERS:
        return _integer(column, INTEGERS[base], unsigned=unsigned)
    if base == "decimal":
        precision, _, scale = arguments.partition(",")
        return replace(column, kind="decimal", precision=int(precision), scale=int(scale or 0))
    simple: dict[str, Column] = {
        # A plain SELECT prints FLOAT with six digits. Not + 0e0, which turns -0 into 0.
        "float": replace(column, kind="double", select="{0} * 1e0"),
        "double": replace(column, kind="double", select="{0} * 1e0"),
        "bit": replace(column, kind="bytes", insert="CAST(CONV({0}, 16, 10) AS UNSIGNED)"),
        "date": replace(column, kind="date", select=f"DATEDIFF({{0}}, '{EPOCH}')"),
        "datetime": replace(column, kind="datetime", select=MICROSECONDS),
        "timestamp": replace(column, kind="timestamp", select=MICROSECONDS),
        "time": replace(column, kind="time", select=TIME),
        "year": replace(column, kind="int"),
        # Read as it would be written back: JSON may hold decimals that its text does not tell from doubles.
        "json": replace(column, kind="string", select="CAST(CAST({0} AS CHAR) AS JSON)"),
    }
    if base in simple:
        return simple[base]
    if base in BINARIES or base in GEOMETRIES:
        return replace(column, kind="bytes", insert="UNHEX({0})")
    if base in TEXTS:
        return column
    raise ValueError(f"the type {kind} cannot be backed up yet")


def _integer(column: Column, bits: int, *, unsigned: bool) -> Column:
    if bits == 64 and unsigned:
        # 2^63 does not fit a long.
        return replace(column, kind="decimal", precision=20)
    return replace(column, kind="long" if bits + unsigned > 32 else "int")


def sqlite_column(name: str, kind: str, *, nullable: bool) -> Column:
    """Return how a column of a STRICT table is kept; ValueError where its type is none of these."""
    column = Column(name, name, kind, "string", nullable)
    kinds: dict[str, Column] = {
        "INT": replace(column, kind="long"),
        "INTEGER": replace(column, kind="long"),
        "REAL": replace(column, kind="double"),
        "TEXT": column,
        "BLOB": replace(column, kind="bytes"),
    }
    if kind.upper() not in kinds:
        raise ValueError(f"the type {kind} changes the values put into it; use INTEGER, REAL, TEXT or BLOB")
    return kinds[kind.upper()]


def as_text(column: Column) -> Column:
    """Return a date column as the text that the server shows: Avro has no 0000-00-00."""
    return replace(column, kind="string", select="CAST({0} AS CHAR)")


def avro_names(names: Iterable[str]) -> list[str]:
    """Return names that Avro allows, all different; a name that is one already stays."""
    names = list(names)
    taken = {name for name in names if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)}
    found = []
    for name in names:
        clean = re.sub(r"^(?=[0-9])|^$", "_", re.sub(r"[^A-Za-z0-9_]", "_", name, flags=re.ASCII))
        if name not in taken:
            base, number = clean, 2
            while clean in taken:
                clean, number = f"{base}_{number}", number + 1
            taken.add(clean)
        found.append(clean)
    return found


def named(columns: Sequence[Column]) -> list[Column]:
    """Return the columns with names that Avro allows."""
    return [replace(c, avro_name=name) for c, name in zip(columns, avro_names(c.name for c in columns))]


def avro_schema(table: str, columns: Sequence[Column]) -> dict[str, Any]:
    """Return the Avro schema of a table; each field carries its exact MySQL type."""
    return {
        "type": "record",
        "name": avro_names([table.rpartition(".")[2]])[0],
        "mysqlTable": table,
        "fields": [_field(column) for column in columns],
    }


def _field(column: Column) -> dict[str, Any]:
    kind: Any = LOGICAL.get(column.kind, column.kind)
    if column.kind == "decimal":
        kind = {"type": "bytes", "logicalType": "decimal", "precision": column.precision, "scale": column.scale}
    field: dict[str, Any] = {"name": column.avro_name, "type": ["null", kind] if column.nullable else kind}
    if column.nullable:
        field["default"] = None
    return {**field, "mysqlType": column.type, "mysqlName": column.name}


def plain_schema(columns: Sequence[Column]) -> dict[str, Any]:
    """Return the schema of the bytes alone: what a reader needs that gives them their meaning itself."""
    fields = [
        {"name": f"f{number}", "type": ["null", column.physical] if column.nullable else column.physical}
        for number, column in enumerate(columns)
    ]
    return {"type": "record", "name": "plain", "fields": fields}
