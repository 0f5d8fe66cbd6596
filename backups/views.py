"""The REST API of backups and restores: each address checks the envelope, calls one service, and answers."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from migration_console.address import Address, Listed
from migration_console.api import Newest, parse
from migration_console.lib.errors import unknown

from . import services
from .filters import BackupFilter
from .models import Backup, Restore
from .serializers import BackupIn, BackupOut, CheckIn, DryRunOut, RestoreIn, RestoreOut


def get_backup(pk: int) -> Backup:
    """Return a backup, or 404."""
    found = Backup.objects.filter(pk=pk).first() if pk < 2**63 else None
    if found is None:
        raise unknown("unknown-backup", f"there is no backup {pk}")
    return found


def get_restore(pk: int) -> Restore:
    """Return a restore, or 404."""
    found = Restore.objects.filter(pk=pk).first() if pk < 2**63 else None
    if found is None:
        raise unknown("unknown-restore", f"there is no restore {pk}")
    return found


class BackUp(Address):
    """A backup of a table."""

    permissions: ClassVar = {"POST": "backups.add_backup"}

    @extend_schema(
        summary="Back a table up", request=BackupIn, responses={202: BackupOut},
        description="Poll the answer's id under /backups. A backup of the table that is under way is the answer too.",
    )  # fmt: skip
    def post(self, request: Request, table: str) -> Response:
        """Ask a worker for it."""
        body = parse(BackupIn, request.data or {})
        backup = services.request_backup(table, user=request.user, codec=body.codec, trigger="rest")
        return Response(backup.as_dict(), status=202)


class BringBack(Address):
    """A restore of a table."""

    permissions: ClassVar = {"POST": "backups.add_restore"}

    @extend_schema(
        summary="Restore a table, or say what a restore would change",
        description=(
            "The present table is backed up first, the backup loaded beside it, compared, and swapped in one step."
            " Poll the answer's id under /restores."
        ),
        request=RestoreIn,
        responses={200: DryRunOut, 202: RestoreOut},
    )
    def post(self, request: Request, table: str) -> Response:
        """Try it, or ask a worker for it."""
        body = parse(RestoreIn, request.data or {})
        if body.dry_run:
            return Response(services.dry_run(table, backup=body.backup, into=body.into))
        how: dict[str, Any] = {"back_up_first": body.back_up_first, "take_schema": body.take_schema}
        restore = services.request_restore(
            table, backup=body.backup, into=body.into, user=request.user, trigger="rest", **how
        )
        return Response(restore.as_dict(), status=202)


class Backups(Listed):
    """Backups, newest first."""

    permissions: ClassVar = {"GET": "backups.view_backup"}
    queryset = Backup.objects.all()
    filterset_class = BackupFilter
    pagination_class = Newest

    @extend_schema(summary="Backups, newest first", responses={200: BackupOut})
    def get(self, _request: Request) -> Response:
        """Return a page."""
        return self.answer(Backup.as_dict)


class OneBackup(Address):
    """A backup."""

    permissions: ClassVar = {"GET": "backups.view_backup", "DELETE": "backups.delete_backup"}

    @extend_schema(summary="A backup; poll it until it has finished", responses={200: BackupOut})
    def get(self, _request: Request, pk: int) -> Response:
        """Return it."""
        return Response(get_backup(pk).as_dict())

    @extend_schema(summary="Delete a backup's files", responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        """Delete it."""
        services.delete_backup(get_backup(pk), user=request.user)
        return Response(status=204)


class VerifyBackup(Address):
    """The proof of a backup."""

    permissions: ClassVar = {"POST": "backups.change_backup"}

    @extend_schema(summary="Prove a backup, or rehearse it", request=CheckIn, responses={202: BackupOut})
    def post(self, request: Request, pk: int) -> Response:
        """Ask a worker for it."""
        body = parse(CheckIn, request.data or {})
        services.request_check(get_backup(pk), rehearse=body.rehearse, user=request.user)
        return Response(get_backup(pk).as_dict(), status=202)


class CancelBackup(Address):
    """A backup, asked to stop."""

    permissions: ClassVar = {"POST": "backups.change_backup"}

    @extend_schema(summary="Stop a backup; nothing of it counts", request=None, responses={202: BackupOut})
    def post(self, request: Request, pk: int) -> Response:
        """Ask it to stop; one that has finished stays as it is."""
        services.cancel_backup(get_backup(pk), user=request.user)
        return Response(get_backup(pk).as_dict(), status=202)


class OneRestore(Address):
    """A restore."""

    permissions: ClassVar = {"GET": "backups.view_restore"}

    @extend_schema(summary="A restore; poll it until it has finished", responses={200: RestoreOut})
    def get(self, _request: Request, pk: int) -> Response:
        """Return it."""
        return Response(get_restore(pk).as_dict())


class CancelRestore(Address):
    """A restore, asked to stop."""

    permissions: ClassVar = {"POST": "backups.change_restore"}

    @extend_schema(summary="Stop a restore before the swap", request=None, responses={202: RestoreOut})
    def post(self, request: Request, pk: int) -> Response:
        """Ask it to stop; one that has swapped goes on to its end."""
        services.cancel_restore(get_restore(pk), user=request.user)
        return Response(get_restore(pk).as_dict(), status=202)
