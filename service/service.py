"""What the routes of one app share: settings, the loaded models, the worker and the metrics."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import structlog

from service.catalog.catalog import Store, fill
from service.engine.ticket import LaneKey
from service.engine.worker import Worker
from service.errors import NotReady, Overloaded, TooManyRows
from service.media.decode import Decoder
from service.metrics import Metrics
from service.results.drift_monitor import Drift
from service.settings import Settings

_NUM_ANIMATIONS = 8
"""Of the largest size; smaller ones may be more."""


class NothingToServe(RuntimeError):
    """Not one bundle could be loaded."""


class Service:
    """Loads its models in the background, then is ready until it drains."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = structlog.get_logger()
        self.metrics = _LoggingMetrics(self.log)
        self.drift = Drift(settings.drift_alpha, settings.drift_window, self.metrics, self.log)
        self.worker = Worker(settings.max_rows_inside, settings.num_threads, self.metrics)
        self.metrics.rows_inside.set_function(lambda: self.worker.rows_inside)
        self.decoder = Decoder(settings.max_pixels, settings.decode_threads)
        self.loading: asyncio.Future[None] | None = None
        """Done when the models are warm; its exception says why nothing can be served."""
        self._store: Store | None = None
        self._frame_bytes = 0

    @property
    def store(self) -> Store:
        """The loaded models. Raises NotReady."""
        if self._store is None:
            raise NotReady("the models are still loading")
        return self._store

    def check_ready(self) -> Store:
        """The loaded models. Raises NotReady while loading, when broken and while draining."""
        if self.worker.broken:
            raise NotReady("the device failed and the process has to be replaced")
        if self.worker.draining:
            raise NotReady("the service is stopping")
        if self.loading and self.loading.done() and (error := self.loading.exception()):
            raise NotReady(str(error))
        return self.store

    @contextlib.contextmanager
    def frame_room(self, num_bytes: int) -> Iterator[None]:
        """Memory for the frames of an animation. Raises TooManyRows, or Overloaded if it is full.

        On the event loop's thread.
        """
        limit = self.settings.max_animation_bytes
        if num_bytes > limit:
            raise TooManyRows(
                f"{num_bytes} bytes of frames: accepted are {limit}, so fewer samples, or a larger "
                "progress_every"
            )
        if self._frame_bytes + num_bytes > _NUM_ANIMATIONS * limit:
            raise Overloaded("too many animations are being made", 1.0)
        self._frame_bytes += num_bytes
        try:
            yield
        finally:
            self._frame_bytes -= num_bytes

    def start(self) -> None:
        """Start the worker and let it load the models; returns at once."""
        self.worker.start()
        self.loading = asyncio.wrap_future(self.worker.call(self._load))
        self.loading.add_done_callback(self._log_failure)

    async def drain(self) -> None:
        """Take no more work and give what is inside its time."""
        num_rows = self.worker.rows_inside
        self.log.info("draining", rows_inside=num_rows, drain_s=self.settings.drain_s)
        done = await asyncio.to_thread(self.worker.drain, self.settings.drain_s)
        self.log.info("drained", everybody_answered=done)

    async def stop(self) -> None:
        """Drain and end the threads."""
        await self.drain()
        await asyncio.to_thread(self.worker.stop)
        self.decoder.close()

    def _load(self) -> None:
        settings = self.settings
        store = fill(
            settings.bundles,
            settings.default_model,
            settings.backend,
            settings.num_threads,
            lambda url, error: self.log.error("bundle skipped", bundle=url, error=str(error)),
            settings.default_screen,
        )
        for served in store.models.values():
            for name, operation in served.operations.items():
                max_rows = served.max_rows(name, settings.max_rows, settings.max_step_ms)
                self.worker.open(served.lane(name), operation, max_rows)
            self.metrics.model_info.labels(
                served.bundle.name, served.bundle.version, served.bundle.family
            ).set(1)
            self.log.info("model ready", model=served.label, family=served.bundle.family)
        if not store.models:
            reasons = "; ".join(store.failed.values())
            raise NothingToServe(f"no bundle could be loaded: {reasons}")
        screen = store.screens_by_default
        if screen is None or screen.bundle.name != settings.default_screen:
            self.log.warning(
                "default screen is not there",
                default_screen=settings.default_screen,
                instead=screen.label if screen else None,
            )
        self._store = store

    def _log_failure(self, loading: asyncio.Future[None]) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            if (error := loading.exception()) is not None:
                self.log.critical("nothing to serve", error=str(error))


class _LoggingMetrics(Metrics):
    """Counts failures and writes them down."""

    def __init__(self, log: Any) -> None:
        super().__init__()
        self._log = log

    def failed(self, lane: LaneKey | None, error: Exception) -> None:
        super().failed(lane, error)
        self._log.error("operation failed", lane=lane, exc_info=error)
