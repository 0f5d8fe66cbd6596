"""Which rows of a batch have their parents among its other rows, and in which order they can go in.

Worked out once, from values that the server calls equal: to ask it anew for each generation of a chain costs
the whole batch each time, and a table sorted by its newest rows is such a chain.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

# A foreign key's number, and what stands for a value of it.
Value = tuple[int, object]
# A row, whether it refers to the value (or is referred to by it), and what stands for the value.
Link = tuple[int, int, object]


class Parents:
    """What rows need that is not in the table, and which rows would bring it."""

    def __init__(self) -> None:
        self.needs: dict[int, list[Value]] = defaultdict(list)
        self.gives: dict[int, list[Value]] = defaultdict(list)
        self.children: dict[Value, list[int]] = defaultdict(list)
        self.given: set[Value] = set()
        self.inside: set[int] = set()

    def add(self, number: int, links: Iterable[Link], orphans: Collection[int]) -> None:
        """Take in one foreign key: its links, and the rows whose parent the table lacks."""
        links = list(links)
        for n, refers, what in links:
            if refers and n in orphans:
                self.needs[n].append((number, what))
                self.children[number, what].append(n)
        for n, refers, what in links:
            if not refers and (number, what) in self.children:
                self.gives[n].append((number, what))

    def enter(self, rows: Iterable[int]) -> list[int]:
        """Note that rows are in the table; return the rows that this may help."""
        if not self.children:
            return []
        rows = list(rows)
        self.inside.update(rows)
        new = {value for n in rows for value in self.gives.get(n, ())} - self.given
        self.given |= new
        return [child for value in new for child in self.children[value]]

    def lacks(self, row: int) -> bool:
        """Tell whether a parent of the row is not in yet."""
        return any(value not in self.given for value in self.needs.get(row, ()))

    def able(self, rows: Iterable[int]) -> list[int]:
        """Return those of the rows that can go in, in this order."""
        found, given = [], set[Value]()
        for n in rows:
            if all(value in self.given or value in given for value in self.needs.get(n, ())):
                found.append(n)
                given.update(self.gives.get(n, ()))
        return found

    def in_order(
        self, waiting: Collection[int], groups: Sequence[Mapping[int, int]], updates: Collection[int]
    ) -> list[list[int]]:
        """Return the rows that can go in behind those inside, parents first: updates and inserts in turns.

        `groups` names for each unique key the rows that share it: the first to come is the only one. An
        UPDATE goes through its rows in no order, so it comes behind all parents of its rows.
        """
        wave = [n for n in self.gives if n in self.inside]
        taken = {(key, group[n]) for key, group in enumerate(groups) for n in self.inside & group.keys()}
        lacking = {n: len(self.needs[n]) for n in waiting}
        turns, above = dict.fromkeys(wave, 0), dict.fromkeys(waiting, 0)
        given, found = set[Value](), defaultdict[int, list[int]](list)
        while wave:
            ready = []
            for n in wave:
                new = [value for value in self.gives.get(n, ()) if value not in given]
                given.update(new)
                for child in (child for value in new for child in self.children[value] if child in lacking):
                    lacking[child] -= 1
                    above[child] = max(above[child], turns[n])
                    ready += [] if lacking[child] else [child]
            wave = []
            for n in sorted(ready):
                keys = {(key, group[n]) for key, group in enumerate(groups) if n in group}
                if not keys & taken:
                    taken |= keys
                    turns[n] = _turn(above[n], update=n in updates)
                    found[turns[n]].append(n)
                    wave.append(n)
        return [found[turn] for turn in sorted(found)]


def _turn(above: int, *, update: bool) -> int:
    """Return the next turn for a row whose last parent comes in turn `above`: inserts have the odd ones."""
    if update:
        return above + 2 - above % 2
    return above + 1 - above % 2
