"""What Prometheus sees: requests, queues, steps and the models that are loaded."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from service.engine.messages import Cancelled, LaneKey, Notice, OperationFailed, Stepped

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Times of creation would double the page.
disable_created_metrics()  # type: ignore[no-untyped-call]
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_P_VALUES = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """A registry of its own, so that one process can hold several services."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "likely_requests_total",
            "Answered requests; code 499 is a client that hung up.",
            ("endpoint", "model", "code"),
            registry=registry,
        )
        self.request_duration = Histogram(
            "likely_request_duration_seconds",
            "From the request's first byte to the answer's last.",
            ("endpoint",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue = Histogram(
            "likely_queue_seconds",
            "From acceptance until the rows joined a batch.",
            ("endpoint",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.step_rows = Histogram(
            "likely_step_rows",
            "Rows that shared a step.",
            ("model", "operation"),
            buckets=_ROWS,
            registry=registry,
        )
        self.step_seconds = Histogram(
            "likely_step_seconds",
            "Time of one step of one lane, with admission and delivery.",
            ("model", "operation"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.rows_inside = Gauge(
            "likely_rows_inside", "Rows accepted and not yet answered.", registry=registry
        )
        self.shed = Counter(
            "likely_shed_total", "Requests refused at the door with 429.", registry=registry
        )
        self.cancelled = Counter(
            "likely_cancelled_total",
            "Tickets cancelled by a hang-up or a deadline, while waiting or running.",
            ("where",),
            registry=registry,
        )
        self.failures = Counter(
            "likely_step_failures_total",
            "Exceptions that operations raised.",
            ("model", "operation"),
            registry=registry,
        )
        self.p_value = Histogram(
            "likely_p_value",
            "p-values of screened events; uniform while they are like the calibration set.",
            ("model", "score"),
            buckets=_P_VALUES,
            registry=registry,
        )
        self.drift_capital = Gauge(
            "likely_drift_log10_martingale",
            "Evidence that screened events have changed; 0 at the start.",
            ("model", "score"),
            registry=registry,
        )
        self.drift_alarmed = Gauge(
            "likely_drift_alarmed",
            "1 from an alarm of the test of drift until its reset.",
            ("model", "score"),
            registry=registry,
        )
        self.drift_alarms = Counter(
            "likely_drift_alarms_total",
            "Alarms of the test of drift.",
            ("model", "score"),
            registry=registry,
        )
        self.model_info = Gauge(
            "likely_model_info",
            "1 for each model that is loaded.",
            ("model", "version", "family"),
            registry=registry,
        )

    def text(self) -> bytes:
        """The exposition that Prometheus scrapes."""
        return generate_latest(self._registry)

    def take(self, notice: Notice) -> None:
        """Count what the worker tells."""
        match notice:
            case Stepped(lane, num_rows, seconds):
                labels = (_name(lane), lane.operation)
                self.step_rows.labels(*labels).observe(num_rows)
                self.step_seconds.labels(*labels).observe(seconds)
            case Cancelled(where):
                self.cancelled.labels(where).inc()
            case OperationFailed(lane) if lane is not None:
                self.failures.labels(_name(lane), lane.operation).inc()


def _name(lane: LaneKey) -> str:
    """The model without its version, which is in likely_model_info."""
    return lane.model.partition("@")[0]
