"""Numbers for Prometheus, which applications add: read from the database, so that any process tells the same."""

from collections.abc import Callable, Iterable

from prometheus_client.core import Metric

GAUGES: list[Callable[[], Iterable[Metric]]] = []
