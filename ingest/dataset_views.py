"""The REST API of datasets."""

from typing import Any, ClassVar

import orjson
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from migration_console.address import Address, Listed
from migration_console.api import ByName
from migration_console.lib.errors import refuse

from .datasets import remove_dataset, save_dataset
from .descriptor import NAME
from .filters import DatasetFilter
from .models import Dataset, SchemaVersion
from .serializers import DatasetIn, DatasetOut


def get_dataset(name: str) -> Dataset:
    """Return a dataset that takes files, or 404."""
    dataset = Dataset.objects.filter(name=name, retired=False).first()
    if dataset is None:
        raise NotFound(f"There is no dataset {name!r}.")
    return dataset


def current_version(name: str) -> SchemaVersion:
    """Return the newest schema version of a dataset that takes files, or 404; in one query."""
    found = SchemaVersion.objects.filter(dataset__name=name, dataset__retired=False).order_by("-number").first()
    if found is None:
        raise NotFound(f"There is no dataset {name!r}.")
    return found


class Datasets(Listed):
    """Datasets by name."""

    permissions: ClassVar = {"GET": "ingest.view_dataset"}
    queryset = Dataset.objects.filter(retired=False)
    filterset_class = DatasetFilter
    pagination_class = ByName

    @extend_schema(summary="Datasets, by name", responses={200: DatasetOut})
    def get(self, _request: Request) -> Response:
        """Return a page."""
        return self.answer(dataset_out)


def dataset_out(dataset: Dataset) -> dict[str, Any]:
    """Return a dataset as the API shows it."""
    version = dataset.current
    descriptor = version.parsed
    return {
        "name": dataset.name,
        "version": version.number,
        "table": dataset.table,
        "mode": descriptor.mode,
        "files": descriptor.file_patterns,
        "paused": dataset.paused,
        "descriptor": version.descriptor,
    }


@extend_schema(
    parameters=[OpenApiParameter("name", {"type": "string", "pattern": NAME, "maxLength": 100}, OpenApiParameter.PATH)]
)
class OneDataset(Address):
    """A dataset."""

    permissions: ClassVar = {
        "GET": "ingest.view_dataset",
        "PUT": "ingest.change_dataset",
        "DELETE": "ingest.delete_dataset",
    }

    @extend_schema(summary="A dataset", responses={200: DatasetOut})
    def get(self, _request: Request, name: str) -> Response:
        """Return it."""
        return Response(dataset_out(get_dataset(name)))

    @extend_schema(
        summary="Define a dataset, or make a new version of it",
        description="The body is the descriptor: a Frictionless Data Resource with our own keys.",
        request=DatasetIn,
        responses={200: DatasetOut, 201: DatasetOut},
    )
    def put(self, request: Request, name: str) -> Response:
        """Save it."""
        if not isinstance(request.data, dict):
            raise refuse("descriptor", "the body must be a descriptor, a JSON object")
        if (request.data.get("name") or name) != name:
            raise refuse("descriptor", f"the address says {name!r}, the descriptor {request.data['name']!r}", "/name")
        new = not Dataset.objects.filter(name=name, retired=False).exists()
        version = save_dataset(_storable({**request.data, "name": name}), user=request.user)
        return Response(dataset_out(version.dataset), status=201 if new else 200)

    @extend_schema(
        summary="Retire a dataset: it takes no more files",
        description="Its table and its runs stay; PUT brings it back.",
        responses={204: None},
    )
    def delete(self, request: Request, name: str) -> Response:
        """Retire it."""
        remove_dataset(get_dataset(name), user=request.user)
        return Response(status=204)


def _storable(descriptor: dict[str, Any]) -> dict[str, Any]:
    """Return a descriptor as the database keeps it: numbers that no float is exactly as their text."""
    try:
        found: dict[str, Any] = orjson.loads(orjson.dumps(descriptor, default=str))
    except TypeError as error:
        raise refuse("descriptor", f"the descriptor cannot be kept: {error}") from None
    return found
