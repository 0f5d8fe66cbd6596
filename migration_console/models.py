"""Models of the project itself."""

from .lib.audit import AuditEntry, AuditHead
from .lib.lease import TableLease

__all__ = ["AuditEntry", "AuditHead", "TableLease"]
