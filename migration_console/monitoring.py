"""What machines ask: is it well, and how much of what is there."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from django.db import connection
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0
from pydantic import BaseModel
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from .lib.gauges import GAUGES
from .lib.lake import lake


class HealthOut(BaseModel):
    """Each part, and `ok` or what is wrong with it."""

    status: str
    checks: dict[str, str]


class Health(APIView):
    """Whether this process reaches what it needs."""

    permissions: ClassVar = {"GET": None}
    # Asked by load balancers every few seconds, without a token.
    authentication_classes = ()
    throttle_classes = ()

    @extend_schema(summary="Whether database and lake answer", auth=[], responses={200: HealthOut, 503: HealthOut})
    def get(self, _request: Request) -> Response:
        """Look."""
        checks = {"database": _look(_database), "lake": _look(_lake)}
        well = set(checks.values()) == {"ok"}
        return Response({"status": "ok" if well else "down", "checks": checks}, status=200 if well else 503)


def _look(check: Callable[[], object]) -> str:
    try:
        check()
    except Exception as error:
        # The kind only: addresses and names are nobody's business who has no token.
        return type(error).__name__
    return "ok"


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _lake() -> None:
    next(iter(lake().list("health")), None)


class Collector:
    """Reads all gauges at the time of asking."""

    def collect(self) -> Iterable[Metric]:
        """Yield every gauge."""
        for gauges in GAUGES:
            yield from gauges()


class Metrics(APIView):
    """Numbers for Prometheus."""

    permissions: ClassVar = {"GET": "migration_console.view_metrics"}
    throttle_scope = "read"

    @extend_schema(summary="Numbers for Prometheus", responses={(200, "text/plain"): OpenApiTypes.STR})
    def get(self, _request: Request) -> HttpResponse:
        """Return the text format."""
        registry = CollectorRegistry(auto_describe=False)
        collector: Any = Collector()
        registry.register(collector)
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_1_0_0)
