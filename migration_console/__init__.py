"""The Django project: settings, the Celery application, and what ingest and backups share."""

from .celery import app as celery_app

__all__ = ["celery_app"]
