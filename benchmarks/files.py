"""Files for benchmarks, made once and kept under var/."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from migration_console.env import ROOT

FIELDS: list[dict[str, Any]] = [
    {"name": "id", "type": "integer", "sqlType": "INT UNSIGNED", "constraints": {"required": True}},
    {"name": "name", "type": "string", "constraints": {"required": True, "maxLength": 60}},
    {"name": "email", "type": "string", "constraints": {"maxLength": 80}},
    {"name": "country", "type": "string", "sqlType": "CHAR(2)"},
    {"name": "born", "type": "date"},
    {"name": "joined", "type": "datetime", "sqlType": "DATETIME"},
    {"name": "balance", "type": "number", "sqlType": "DECIMAL(12,2)"},
    {"name": "team_id", "type": "integer", "sqlType": "INT UNSIGNED"},
    {"name": "active", "type": "boolean"},
]
TEAMS: dict[str, Any] = {
    "name": "teams",
    "schema": {"fields": [{"name": "id", "type": "integer", "sqlType": "INT UNSIGNED"}], "primaryKey": "id"},
}
PEOPLE: dict[str, Any] = {"name": "people", "schema": {"fields": FIELDS, "primaryKey": "id"}}
MEMBERS: dict[str, Any] = {
    "name": "members",
    "schema": {
        "fields": FIELDS,
        "primaryKey": "id",
        "foreignKeys": [{"fields": "team_id", "reference": {"resource": "teams", "fields": "id"}}],
    },
}
TEAM_COUNT = 1000
# One row in a hundred is bad, each time in another way.
BAD = ["x", "1.005", "NaN", "1e400", "12345678901234.00"]


def people(rows: int, *, duplicates: int = 0, orphans: int = 0, seed: int = 7) -> Iterator[str]:
    """Yield lines of nine columns, 1% bad; per cent of duplicate keys and of teams that do not exist."""
    chance = random.Random(seed)
    yield ",".join(str(field["name"]) for field in FIELDS) + "\n"
    for number in range(1, rows + 1):
        balance = (
            BAD[number // 100 % len(BAD)] if number % 100 == 50 else f"{chance.randrange(-(10**8), 10**8) / 100:.2f}"
        )
        key = number if chance.randrange(100) >= duplicates else chance.randrange(1, number + 1)
        team = chance.randrange(1, TEAM_COUNT + 1) + (TEAM_COUNT if chance.randrange(100) < orphans else 0)
        day = f"19{number % 60 + 40}-{number % 12 + 1:02d}-{number % 28 + 1:02d}"
        yield (
            f"{key},Name {number % 9973} Surname,user{number}@example.org,DE,{day},2021-11-07T02:{number % 60:02d}:11Z,"
            f"{balance},{team},{'true' if number % 2 else 'false'}\n"
        )


def made(name: str, rows: int, **shares: int) -> Path:
    """Return a file of people, made unless it is there."""
    path = ROOT / "var" / "bench" / f"{name}-{rows}.csv"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".tmp").open("w") as file:
            file.writelines(people(rows, **shares))
        path.with_suffix(".tmp").rename(path)
    return path
