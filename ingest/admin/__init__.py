"""The stewards' pages of loading. Ledgers are read, never edited: what people do goes through the services."""

from . import datasets, rejects, runs

__all__ = ["datasets", "rejects", "runs"]
