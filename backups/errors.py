"""Errors of the files themselves; everything else is in migration_console.lib.errors."""


class Damaged(Exception):
    """A backup's bytes are not what was written: nothing of it may be believed."""


class OutOfRange(Exception):
    """A value does not fit the Avro type of its column; writing it would change it."""
