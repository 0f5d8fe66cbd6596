"""Addresses."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from .monitoring import Health, Metrics
from .routes import both

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("", include("ingest.urls")),
    *both("health", Health, "health"),
    *both("metrics", Metrics, "metrics"),
    *both("schema", SpectacularAPIView, "schema"),
    *both("docs", SpectacularSwaggerView, "docs"),
]
handler404 = "migration_console.answers.not_found"
handler500 = "migration_console.answers.server_error"
