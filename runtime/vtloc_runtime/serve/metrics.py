"""Metrics of the service, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Counts requests and the work behind them."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "vtloc_requests",
            "Requests that were answered.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._latency = Histogram(
            "vtloc_request_seconds",
            "Seconds until a request was answered.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._stage_seconds = Counter(
            "vtloc_stage_seconds",
            "Seconds spent on decoding, encoding and localizing.",
            ("stage",),
            registry=self._registry,
        )
        self._stage_items = Counter(
            "vtloc_stage_items",
            "Frames that were decoded and encoded, sentences that were localized.",
            ("stage",),
            registry=self._registry,
        )
        self._held = Gauge(
            "vtloc_requests_in_progress",
            "Requests that wait for their turn or are being worked on.",
            registry=self._registry,
        )

    def watch(self, held: Callable[[], float]) -> None:
        """Read the number of requests in progress when metrics are asked for.

        Args:
            held: Gives the number.
        """
        self._held.set_function(held)

    def observe_stage(self, stage: str, seconds: float, count: int) -> None:
        """Count the work of a stage; an observer for ``Localizer.open``.

        Args:
            stage: The stage's name.
            seconds: How long it took.
            count: How many frames or sentences it processed.
        """
        self._stage_seconds.labels(stage).inc(seconds)
        self._stage_items.labels(stage).inc(count)

    def observe_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            route: The path of its route, with names in place of values.
            method: Its method.
            status: The status of its answer.
            seconds: How long it took.
        """
        self._requests.labels(route, method, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
