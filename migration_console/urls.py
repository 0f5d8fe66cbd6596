"""Addresses."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from .description import Docs, Document
from .monitoring import Health, Metrics
from .routes import both
from .welcome import Welcome

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/welcome/<uidb64>/<token>/", Welcome.as_view(), name="welcome"),
    path("admin/", admin.site.urls),
    path("", include("ingest.urls")),
    path("", include("backups.urls")),
    *both("health", Health, "health"),
    *both("metrics", Metrics, "metrics"),
    *both("schema", Document, "schema"),
    *both("docs", Docs, "docs"),
]
handler400 = "migration_console.answers.bad_request"
handler404 = "migration_console.answers.not_found"
handler500 = "migration_console.answers.server_error"
