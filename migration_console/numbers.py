"""Numbers as addresses and forms name them."""

# Each number of so many digits fits a BIGINT.
DIGITS = 18


def number(text: str) -> int | None:
    """Return a number that somebody asks for; None where it is none, or larger than any that is kept.

    str.isdigit() alone is true of '²', which int() refuses, and of more digits than a database takes.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS else None
