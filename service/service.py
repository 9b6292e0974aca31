"""What the routes of one app share: settings, the catalog, the worker's client and the metrics."""

import asyncio
import contextlib

import structlog

from service.catalog.catalog import Catalog
from service.catalog.loading import load_catalog
from service.client_shares import ClientShares
from service.engine.client import Client
from service.engine.messages import Notice, OperationFailed, Skipped
from service.engine.worker import Worker
from service.errors import NotReady
from service.media.decode import Decoder
from service.media.frame_room import FrameRoom
from service.metrics import Metrics
from service.results.drift_monitor import DriftMonitor
from service.settings import Settings


class Service:
    """Loads its models in the background, then is ready until it drains."""

    def __init__(self, settings: Settings, client: type[Client] = Client) -> None:
        self.settings = settings
        self.log = structlog.get_logger()
        self.metrics = Metrics()
        self.drift = DriftMonitor(
            settings.drift_alpha, settings.drift_window, self.metrics, self.log
        )
        self.worker = Worker(settings.max_rows_inside, settings.num_threads, load_catalog)
        self.engine = client(self.worker, self._take_notice)
        """All that is said to the worker goes this way."""
        self.metrics.rows_inside.set_function(lambda: self.engine.status().rows_inside)
        self.decoder = Decoder(settings.max_pixels, settings.decode_threads)
        self.frame_room = FrameRoom(settings.max_animation_bytes)
        self.shares = ClientShares(settings.client_share, settings.max_rows_inside)
        self.loading: asyncio.Future[None] | None = None
        """Done when the models are warm; its exception says why nothing can be served."""
        self._catalog: Catalog | None = None

    @property
    def catalog(self) -> Catalog:
        """The loaded models. Raises NotReady."""
        if self._catalog is None:
            raise NotReady("the models are still loading")
        return self._catalog

    def check_ready(self) -> Catalog:
        """The loaded models. Raises NotReady while loading, when broken and while draining."""
        status = self.engine.status()
        if status.broken:
            raise NotReady("the device failed and the process has to be replaced")
        if status.draining:
            raise NotReady("the service is stopping")
        if self.loading and self.loading.done() and (error := self.loading.exception()):
            raise NotReady(str(error))
        return self.catalog

    def start(self) -> None:
        """Start the worker and let it load the models; returns at once."""
        self.worker.start()
        self.loading = asyncio.ensure_future(self._load())
        self.loading.add_done_callback(self._log_failure)

    async def drain(self) -> None:
        """Take no more work and give what is inside its time."""
        num_rows = self.engine.status().rows_inside
        self.log.info("draining", rows_inside=num_rows, drain_s=self.settings.drain_s)
        done = await asyncio.to_thread(self.engine.drain, self.settings.drain_s)
        self.log.info("drained", everybody_answered=done)

    async def stop(self) -> None:
        """Drain and end the threads."""
        await self.drain()
        await asyncio.to_thread(self.engine.stop)
        self.decoder.close()

    async def _load(self) -> None:
        settings = self.settings
        catalog: Catalog = await self.engine.load(
            settings.bundles,
            settings.default_model,
            settings.default_screen,
            backend=settings.backend,
            num_threads=settings.num_threads,
            max_rows=settings.max_rows,
            max_step_ms=settings.max_step_ms,
        )
        for model in catalog.models.values():
            self.metrics.model_info.labels(model.name, model.version, model.family).set(1)
            self.log.info("model ready", model=model.label, family=model.family)
        screen = catalog.screens_by_default
        if screen is None or screen.name != settings.default_screen:
            self.log.warning(
                "default screen is not there",
                default_screen=settings.default_screen,
                instead=screen.label if screen else None,
            )
        self._catalog = catalog

    def _take_notice(self, notice: Notice) -> None:
        """Count and write down what the worker says, on its thread."""
        self.metrics.take(notice)
        if isinstance(notice, Skipped):
            self.log.error("bundle skipped", bundle=notice.bundle, error=notice.reason)
        elif isinstance(notice, OperationFailed):
            self.log.error("operation failed", lane=notice.lane, exception=notice.traceback)

    def _log_failure(self, loading: asyncio.Future[None]) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            error = loading.exception()
            if error is not None and not self.engine.status().draining:
                self.log.critical("nothing to serve", error=str(error))
