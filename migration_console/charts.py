"""Charts for unfold's Chart.js: it draws bars of four pixels without axes unless it is told everything."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple


class Series(NamedTuple):
    """One colour of bars; `colour` is a variable of the style sheet."""

    name: str
    colour: str
    values: Sequence[float]


class Chart(NamedTuple):
    """What a template needs of a chart: two attributes for the script, and the same numbers for a table."""

    title: str
    labels: Sequence[str]
    series: Sequence[Series]
    unit: str

    @property
    def data(self) -> str:
        """Return the numbers as Chart.js reads them."""
        sets = [
            {"label": series.name, "backgroundColor": f"var({series.colour})", "data": list(series.values),
             "maxBarThickness": 28, "borderRadius": 2}
            for series in self.series
        ]  # fmt: skip
        return json.dumps({"labels": list(self.labels), "datasets": sets})

    @property
    def options(self) -> str:
        """Return axes and legend; both axes must be named, or unfold's script fails on their grid."""
        y_axis: dict[str, Any] = {"stacked": True, "beginAtZero": True, "ticks": {"precision": 0, "maxTicksLimit": 6}}
        return json.dumps(
            {
                "animation": False,
                "maintainAspectRatio": False,
                "scales": {
                    "x": {
                        "stacked": True,
                        "grid": {"display": False},
                        "ticks": {"maxRotation": 0, "autoSkipPadding": 12},
                    },
                    "y": {**y_axis, "grid": {}, "title": {"display": True, "text": self.unit}},
                },
                "plugins": {"legend": {"display": True, "position": "bottom", "labels": {"boxWidth": 12}}},
                "interaction": {"mode": "index", "intersect": False},
            }
        )

    @property
    def rows(self) -> list[tuple[str, list[float]]]:
        """Return a line a label, the newest first."""
        return [(label, [series.values[number] for series in self.series]) for number, label in enumerate(self.labels)][
            ::-1
        ]
