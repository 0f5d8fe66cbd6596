"""The Celery application. A message is only a bell: the work and its state are in the database."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "migration_console.settings")

app = Celery("migration_console")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
