"""Addresses of backups and restores."""

from migration_console.routes import both

from . import views

urlpatterns = [
    *both("backup/<str:table>", views.BackUp, "back-up"),
    *both("restore/<str:table>", views.BringBack, "bring-back"),
    *both("backups", views.Backups, "backups"),
    *both("backups/<int:pk>", views.OneBackup, "backup"),
    *both("backups/<int:pk>/verify", views.VerifyBackup, "verify-backup"),
    *both("backups/<int:pk>/cancel", views.CancelBackup, "cancel-backup"),
    *both("restores/<int:pk>", views.OneRestore, "restore"),
    *both("restores/<int:pk>/cancel", views.CancelRestore, "cancel-restore"),
]
