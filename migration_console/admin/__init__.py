"""The pages of people, tokens and the audit log."""

from . import audit, people, tokens

__all__ = ["audit", "people", "tokens"]
