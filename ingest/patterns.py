"""File patterns: `*` stops at `/`, `**` does not; the most literal match wins, ties are refused."""

import re
from collections.abc import Iterable
from functools import lru_cache

TOKEN = re.compile(r"\*\*|\*|\?|[^*?]")


def pattern_problem(pattern: str) -> str:
    """Say what is wrong with a pattern; '' when nothing is."""
    if not pattern or pattern.startswith("/") or "\\" in pattern:
        return f"{pattern!r} must be a path below raw/, such as users/*.csv"
    if pattern.startswith("raw/"):
        return f"{pattern!r} is taken relative to raw/; leave raw/ out"
    return ""


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """Return the pattern as a regular expression."""
    parts = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(parts.get(t) or re.escape(t) for t in TOKEN.findall(pattern)), re.DOTALL)


def matches(pattern: str, path: str) -> bool:
    """Tell whether a path below raw/ matches."""
    return compiled(pattern).fullmatch(path) is not None


def literal(pattern: str) -> int:
    """Count the characters that stand for themselves."""
    return sum(token not in {"**", "*", "?"} for token in TOKEN.findall(pattern))


def best_match(path: str, datasets: Iterable[tuple[str, list[str]]]) -> list[str]:
    """Return the names of the datasets whose patterns match most literally: none, one, or a tie."""
    best, names = -1, list[str]()
    for name, patterns in datasets:
        score = max((literal(pattern) for pattern in patterns if matches(pattern, path)), default=-1)
        if score > best:
            best, names = score, [name]
        elif score == best and score >= 0:
            names.append(name)
    return names


def tie(left: str, right: str) -> bool:
    """Tell whether some path matches both patterns equally literally."""
    return literal(left) == literal(right) and overlap(tuple(TOKEN.findall(left)), tuple(TOKEN.findall(right)))


def overlap(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    """Tell whether some path matches both lists of tokens, walking both patterns at once."""
    todo, seen = [(0, 0)], set[tuple[int, int]]()
    while todo:
        i, j = todo.pop()
        if (i, j) in seen:
            continue
        seen.add((i, j))
        if i == len(left) and j == len(right):
            return True
        a = left[i] if i < len(left) else ""
        b = right[j] if j < len(right) else ""
        if a in {"*", "**"}:
            todo.append((i + 1, j))
        if b in {"*", "**"}:
            todo.append((i, j + 1))
        if a and b and _share(a, b):
            todo.append((i + (a not in {"*", "**"}), j + (b not in {"*", "**"})))
    return False


def _share(a: str, b: str) -> bool:
    """Tell whether two tokens can stand for the same character."""
    wild = {"**", "*", "?"}
    if a in wild and b in wild:
        return True
    if a in wild or b in wild:
        token, character = (a, b) if a in wild else (b, a)
        return token == "**" or character != "/"
    return a == b
