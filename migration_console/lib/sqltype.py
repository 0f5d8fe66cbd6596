"""MySQL column types: parsed, written, compared; what a value may be to fit one exactly."""

import re
from dataclasses import dataclass, replace

INTEGER_BITS = {"TINYINT": 8, "SMALLINT": 16, "MEDIUMINT": 24, "INT": 32, "BIGINT": 64}
# Bytes that a text type holds; VARCHAR and CHAR count characters.
TEXT_BYTES = {"TINYTEXT": 255, "TEXT": 65_535, "MEDIUMTEXT": 16_777_215, "LONGTEXT": 4_294_967_295}
BINARY = {"BINARY", "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB"}
BLOB_BYTES = {name.replace("TEXT", "BLOB"): size for name, size in TEXT_BYTES.items()}
SYNONYMS = {"INTEGER": "INT", "NUMERIC": "DECIMAL", "DEC": "DECIMAL", "BOOL": "TINYINT", "BOOLEAN": "TINYINT"}
SYNONYMS |= {"DOUBLE PRECISION": "DOUBLE", "REAL": "DOUBLE", "CHARACTER": "CHAR", "INT4": "INT", "INT8": "BIGINT"}
OTHERS = {"DECIMAL", "FLOAT", "DOUBLE", "BIT", "CHAR", "VARCHAR", "ENUM", "SET", "JSON"}
TEMPORAL = {"DATE", "TIME", "DATETIME", "TIMESTAMP", "YEAR"}
KNOWN = {*INTEGER_BITS, *TEXT_BYTES, *BINARY, *OTHERS, *TEMPORAL}
# What a column of these does to values that are written as another type's.
CHANGING = {
    "CHAR": "drops the spaces at the end of a text",
    "BINARY": "fills bytes up with zeros",
    "BIT": "takes the digits of a number for bytes",
}
CHARSETS = {"utf8mb4", "utf8mb3", "latin1", "ascii"}

PATTERN = re.compile(
    r"""\s*(?P<base>DOUBLE\s+PRECISION|[A-Z0-9]+)
        (?:\s*\(\s*(?P<args>(?:'(?:[^']|'')*'|[^')])*)\))?
        (?P<unsigned>\s+UNSIGNED)?(?:\s+ZEROFILL)?
        (?:\s+(?:CHARACTER\s+SET|CHARSET)\s+(?P<charset>\w+))?
        (?:\s+COLLATE\s+(?P<collation>\w+))?\s*$""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True)
class SqlType:
    """One column type, such as DECIMAL(10,2) or VARCHAR(80) CHARACTER SET utf8mb3.

    `length` is characters (CHAR, VARCHAR), bytes (BINARY), bits (BIT), digits (DECIMAL) or
    fractional digits (TIME, DATETIME, TIMESTAMP).
    """

    base: str
    length: int | None = None
    scale: int | None = None
    unsigned: bool = False
    values: tuple[str, ...] = ()
    charset: str = ""
    collation: str = ""

    @property
    def is_text(self) -> bool:
        """Tell whether the column holds characters in a charset."""
        return self.base in TEXT_BYTES or self.base in {"CHAR", "VARCHAR", "ENUM", "SET"}

    @property
    def integer_range(self) -> tuple[int, int] | None:
        """Return the least and the greatest integer of the type, None for other types."""
        if self.base == "BIT":
            return 0, 2 ** (self.length or 1) - 1
        if self.base == "YEAR":
            return 1901, 2155
        bits = INTEGER_BITS.get(self.base)
        if bits is None:
            return None
        return (0, 2**bits - 1) if self.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)

    @property
    def sql(self) -> str:
        """Return the type as MySQL writes it."""
        args = ""
        if self.values:
            args = "(" + ",".join("'" + v.replace("\\", "\\\\").replace("'", "''") + "'" for v in self.values) + ")"
        elif self.base == "DECIMAL":
            args = f"({self.length},{self.scale})"
        elif self.length is not None and self.base not in INTEGER_BITS:
            args = f"({self.length})"
        charset = f" CHARACTER SET {self.charset}" if self.charset and self.is_text else ""
        collation = f" COLLATE {self.collation}" if self.collation and self.is_text else ""
        return self.base + args + (" UNSIGNED" if self.unsigned else "") + charset + collation

    @property
    def sqlite(self) -> str:
        """Return the type for a STRICT table of SQLite; decimals stay text so that no digit is lost."""
        if self.integer_range is not None and not (self.base == "BIGINT" and self.unsigned):
            return "INTEGER"
        if self.base in {"FLOAT", "DOUBLE"}:
            return "REAL"
        return "BLOB" if self.base in BINARY else "TEXT"


def parse_sql_type(text: str) -> SqlType:
    """Parse a column type; ValueError says what is wrong with it."""
    match = PATTERN.match(text)
    base = re.sub(r"\s+", " ", match["base"]).upper() if match else ""
    base = SYNONYMS.get(base, base)
    if match is None or base not in KNOWN:
        raise ValueError(f"{text!r} is not a MySQL column type that can be loaded")
    charset = (match["charset"] or "").lower().replace("utf8mb3", "utf8").replace("utf8", "utf8mb3")
    charset = "utf8mb4" if (match["charset"] or "").lower() == "utf8mb4" else charset
    if charset and charset not in CHARSETS:
        raise ValueError(f"the character set {charset!r} is not one of {', '.join(sorted(CHARSETS))}")
    found = SqlType(base, unsigned=bool(match["unsigned"]), charset=charset, collation=match["collation"] or "")
    return _with_arguments(found, match["args"], text)


def _with_arguments(found: SqlType, args: str | None, text: str) -> SqlType:
    if found.base in {"ENUM", "SET"}:
        values = tuple(v.replace("''", "'").replace("\\\\", "\\") for v in re.findall(r"'((?:[^']|'')*)'", args or ""))
        if not values:
            raise ValueError(f"{text!r} lists no values")
        return replace(found, values=values)
    if args is None or not args.strip():
        if found.base in {"VARCHAR", "VARBINARY"}:
            raise ValueError(f"{text!r} needs a length")
        default = {"DECIMAL": (10, 0), "CHAR": (1, None), "BINARY": (1, None), "BIT": (1, None)}
        length, scale = default.get(found.base, (None, None))
        return replace(found, length=length, scale=scale)
    numbers = [int(part) for part in args.split(",") if part.strip().isascii() and part.strip().isdigit()]
    if len(numbers) != len(args.split(",")) or len(numbers) > (
        2 if found.base in {"DECIMAL", "FLOAT", "DOUBLE"} else 1
    ):
        raise ValueError(f"{text!r} has a length that is no number")
    if found.base == "DECIMAL":
        scale = numbers[1] if len(numbers) == 2 else 0
        if not (1 <= numbers[0] <= 65 and scale <= min(30, numbers[0])):
            raise ValueError(f"{text!r}: DECIMAL takes up to 65 digits, up to 30 of them decimals")
        return replace(found, length=numbers[0], scale=scale)
    if found.base in {"FLOAT", "DOUBLE"} and len(numbers) == 2:
        raise ValueError(f"{text!r} rounds what is put into it; use DECIMAL({args})")
    if found.base in INTEGER_BITS or found.base in {"FLOAT", "DOUBLE", "YEAR"} or found.base in TEXT_BYTES:
        return found  # a display width, or a precision that changes nothing that we promise
    if found.base in {"TIME", "DATETIME", "TIMESTAMP"} and numbers[0] > 6:
        raise ValueError(f"{text!r}: at most 6 fractional digits")
    return replace(found, length=numbers[0])


def narrower(have: SqlType, need: SqlType) -> str:
    """Say why a column of type `have` cannot hold every value of type `need`; '' when it can."""
    if have == need or (have.sql == need.sql):
        return ""
    if have.base in CHANGING and have.base != need.base:
        return f"{have.sql} {CHANGING[have.base]} (say so with sqlType: {have.sql}, or make the column {need.sql})"
    if need.integer_range is not None:
        return _narrower_integer(have, need)
    if need.base == "DECIMAL":
        return _narrower_decimal(have, need)
    if need.base in {"FLOAT", "DOUBLE"}:
        return "" if have.base == "DOUBLE" or have.base == need.base else f"{have.sql} is narrower than {need.sql}"
    if need.base in TEMPORAL:
        return _narrower_time(have, need)
    if need.base in BINARY:
        return _narrower_binary(have, need)
    if need.base == "JSON":
        return "" if have.base in {"JSON", "LONGTEXT"} else f"{have.sql} is not JSON"
    return _narrower_text(have, need)


def _narrower_integer(have: SqlType, need: SqlType) -> str:
    assert need.integer_range is not None
    low, high = need.integer_range
    if have.base == "DECIMAL":
        digits = (have.length or 10) - (have.scale or 0)
        fits = high < 10**digits and -low < 10**digits and not (have.unsigned and low < 0)
    else:
        fits = have.integer_range is not None and have.integer_range[0] <= low and high <= have.integer_range[1]
    return "" if fits else f"{have.sql} does not hold every number from {low} to {high}"


def _narrower_decimal(have: SqlType, need: SqlType) -> str:
    if have.base != "DECIMAL":
        return f"{have.sql} is not exact; {need.sql} is needed"
    whole = (have.length or 0) - (have.scale or 0) >= (need.length or 0) - (need.scale or 0)
    if whole and (have.scale or 0) >= (need.scale or 0) and (need.unsigned or not have.unsigned):
        return ""
    return f"{have.sql} is narrower than {need.sql}"


def _narrower_time(have: SqlType, need: SqlType) -> str:
    same = have.base == need.base or (have.base == "DATETIME" and need.base in {"DATE", "TIMESTAMP"})
    if not same:
        return f"{have.sql} is not {need.sql}"
    if (have.length or 0) < (need.length or 0):
        return f"{have.sql} keeps {have.length or 0} fractional digits, {need.length} are needed"
    return ""


def _narrower_binary(have: SqlType, need: SqlType) -> str:
    def room(kind: SqlType) -> int:
        return BLOB_BYTES.get(kind.base) or kind.length or 0

    if have.base == "BINARY":
        return f"{have.sql} {CHANGING['BINARY']}; {need.sql} is needed"
    return "" if have.base in BINARY and room(have) >= room(need) else f"{have.sql} is narrower than {need.sql}"


def _narrower_text(have: SqlType, need: SqlType) -> str:
    if not have.is_text:
        return f"{have.sql} does not hold text"
    if charset_rank(have) < charset_rank(need):
        return (
            f"its character set {have.charset} cannot hold every text that the schema allows"
            f" (say so with sqlType: {have.base} … CHARACTER SET {have.charset}, or widen the column to utf8mb4)"
        )
    if have.values:
        missing = [value for value in need.values if value not in have.values]
        if not need.values or missing:
            return f"{have.base} lacks {', '.join(missing) or 'a list in the schema'}"
        return ""
    if characters(have) < characters(need):
        return f"{have.sql} is too short: the schema allows {characters(need)} characters"
    return ""


def charset_rank(kind: SqlType) -> int:
    """Order character sets by what they hold; none named means utf8mb4."""
    return {"ascii": 0, "latin1": 1, "utf8mb3": 2}.get(kind.charset, 3)


def characters(kind: SqlType) -> int:
    """Return how many characters always fit (for TEXT types: bytes, which the validator counts too)."""
    if kind.values:
        return max(len(value) for value in kind.values)
    return TEXT_BYTES.get(kind.base) or kind.length or 0
