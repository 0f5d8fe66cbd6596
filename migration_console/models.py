"""Models of the project itself."""

from .lib.lease import TableLease

__all__ = ["TableLease"]
