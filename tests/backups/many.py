"""Random values of every MySQL type, as SQL, many of them: hypothesis needs 0.2 ms a value, hours for a million a type.

Each function takes a Random, whose seed hypothesis chooses, and returns one literal.
"""

import json
import math
import struct
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

Make = Callable[[Random], str]
SURROGATES = range(0xD800, 0xE000)
UNICODE = "".join(chr(code) for code in range(1, sys.maxunicode + 1) if code not in SURROGATES)
LATIN = "".join(chr(code) for code in range(1, 256))
MOST_TIME = (838 * 3600 + 59 * 60 + 59) * 1_000_000
LAST_STAMP = 2**31 - 1


def quoted(text: str) -> str:
    """Return a text as a literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def number(low: int, high: int) -> Make:
    """Choose a whole number."""
    return lambda r: str(r.randint(low, high))


def decimal(digits: int, scale: int) -> Make:
    """Choose any number of digits, with a point before the last of them."""

    def make(r: Random) -> str:
        text = str(r.randrange(10 ** r.randint(1, digits))).zfill(scale + 1)
        return r.choice(("", "-")) + (f"{text[:-scale]}.{text[-scale:]}" if scale else text)

    return make


def floating(code: str, smallest: float) -> Make:
    """Choose any bits that are a normal number."""
    size = struct.calcsize(code)

    def make(r: Random) -> str:
        while True:
            value: float = struct.unpack(code, r.randbytes(size))[0]
            if math.isfinite(value) and abs(value) >= smallest:
                return repr(value)

    return make


def moment(start: datetime, seconds: int, micros: int) -> Make:
    """Choose a moment, with as many digits behind the second as `micros` leaves."""

    def make(r: Random) -> str:
        fraction = f".{r.randrange(10**micros):0{micros}}" if micros else ""
        return f"'{start + timedelta(seconds=r.randrange(seconds))}{fraction}'"

    return make


def span(step: int) -> Make:
    """Choose a TIME, a whole number of steps of microseconds long."""

    def make(r: Random) -> str:
        micros = r.randint(-MOST_TIME // step, MOST_TIME // step) * step
        seconds, fraction = divmod(abs(micros), 1_000_000)
        sign = "-" if micros < 0 else ""
        return f"'{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}'"

    return make


def text(letters: str, most: int) -> Make:
    """Choose a text."""
    return lambda r: quoted("".join(r.choices(letters, k=r.randint(0, most))))


def in_hex(most: int) -> Make:
    """Choose bytes."""
    return lambda r: f"x'{r.randbytes(r.randint(0, most)).hex()}'"


def one_of(*literals: str) -> Make:
    """Choose one of these."""
    return lambda r: r.choice(literals)


def document(r: Random) -> str:
    """Choose a JSON document."""
    plain: list[object] = [
        None,
        True,
        r.randint(-(2**63), 2**64 - 1),
        r.gauss(0, 1e9),
        "".join(r.choices(UNICODE, k=5)),
    ]
    inner = r.choices(plain, k=r.randrange(4))
    return quoted(json.dumps(r.choice([r.choice(plain), inner, dict(zip("abé", inner))]), ensure_ascii=False))


YEAR_1, YEARS = datetime(1, 1, 1), 3_652_059 * 86_400
DOUBLE = floating("<d", sys.float_info.min)
RANDOM: dict[str, Make] = {
    "TINYINT": number(-128, 127),
    "TINYINT(1)": number(-128, 127),
    "TINYINT UNSIGNED": number(0, 255),
    "SMALLINT": number(-(2**15), 2**15 - 1),
    "MEDIUMINT UNSIGNED": number(0, 2**24 - 1),
    "INT": number(-(2**31), 2**31 - 1),
    "INT(6) ZEROFILL": number(0, 2**32 - 1),
    "INT UNSIGNED": number(0, 2**32 - 1),
    "BIGINT": number(-(2**63), 2**63 - 1),
    "BIGINT UNSIGNED": number(0, 2**64 - 1),
    "DECIMAL(10,2)": decimal(10, 2),
    "DECIMAL(18,9)": decimal(18, 9),
    "DECIMAL(20,0)": decimal(20, 0),
    "DECIMAL(65,30)": decimal(65, 30),
    "FLOAT": floating("<f", 1.1754943508222875e-38),
    "DOUBLE": DOUBLE,
    "BIT(1)": number(0, 1),
    "BIT(64)": number(0, 2**64 - 1),
    "DATE": lambda r: f"'{(YEAR_1 + timedelta(days=r.randrange(3_652_059))).date()}'",
    "DATETIME": moment(YEAR_1, YEARS, 0),
    "DATETIME(6)": moment(YEAR_1, YEARS, 6),
    "TIMESTAMP": moment(datetime(1970, 1, 1, 0, 0, 1), LAST_STAMP, 0),
    "TIMESTAMP(3)": moment(datetime(1970, 1, 1, 0, 0, 1), LAST_STAMP - 1, 3),
    "TIME": span(1_000_000),
    "TIME(6)": span(1),
    "YEAR": number(1901, 2155),
    "CHAR(10)": text(UNICODE, 10),
    "VARCHAR(30)": text(UNICODE, 30),
    "VARCHAR(30) CHARACTER SET latin1": text(LATIN, 30),
    "TEXT": text(UNICODE, 30),
    "LONGTEXT": text(UNICODE, 30),
    "BINARY(4)": in_hex(4),
    "VARBINARY(20)": in_hex(20),
    "BLOB": in_hex(40),
    "ENUM('a','b c','é','it''s')": one_of("'a'", "'b c'", "'é'", "'it''s'"),
    "SET('a','b','c d')": one_of("''", "'a'", "'b'", "'a,b'", "'b,c d'", "'a,b,c d'"),
    "JSON": document,
    "POINT": lambda r: f"POINT({DOUBLE(r)}, {DOUBLE(r)})",
    "GEOMETRY": lambda r: f"ST_GeomFromText('LINESTRING({r.random()} {-r.random()},{r.random()} 7)')",
    "VECTOR(3)": lambda r: f"STRING_TO_VECTOR('[{r.gauss(0, 1)},{r.gauss(0, 1e9)},{r.randrange(9)}]')",
}
