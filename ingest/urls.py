"""Addresses of loading."""

from migration_console.routes import both

from . import dataset_views, views

urlpatterns = [
    *both("validate-transform", views.ValidateTransform, "validate-transform"),
    *both("files", views.Files, "files"),
    *both("runs", views.Runs, "runs"),
    *both("runs/<int:pk>", views.OneRun, "run"),
    *both("runs/<int:pk>/retry", views.RetryRun, "retry"),
    *both("runs/<int:pk>/cancel", views.CancelRun, "cancel"),
    *both("runs/<int:pk>/rejects", views.Rejects, "rejects"),
    *both("datasets", dataset_views.Datasets, "datasets"),
    *both("datasets/<str:name>", dataset_views.OneDataset, "dataset"),
]
