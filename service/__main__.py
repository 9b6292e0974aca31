"""`python -m service`: uvicorn around the app, which drains before it stops."""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from types import FrameType

import structlog
import uvicorn

from service.app import create_app
from service.environment import WrongSetting, ignored_names, read_settings, usage
from service.listening import listen, urls
from service.logs import configure
from service.service import Service


class DrainingServer(uvicorn.Server):
    """On the first SIGTERM or SIGINT keeps answering until the work is done, then stops.

    While it drains, readiness says 503, new work gets 503, and what was accepted is finished or,
    after `drain_s`, failed with 503. A second signal stops at once.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service
        self.failed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        if self.service.loading is not None:
            self.service.loading.add_done_callback(self._loaded)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._loop is None or self.service.engine.status().draining:
            super().handle_exit(sig, frame)
            return
        # A signal handler may run between any two instructions: leave the work to the loop.
        self.service.engine.close()
        self._loop.call_soon_threadsafe(self._begin_to_drain)

    def _begin_to_drain(self) -> None:
        self._draining = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        await self.service.drain()
        self.should_exit = True

    def _loaded(self, loading: asyncio.Future[None]) -> None:
        if not loading.cancelled() and loading.exception() is not None:
            self.failed = not self.service.engine.status().draining
            self.should_exit = True


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; 1 if there was nothing to serve, 2 if a setting cannot be used."""
    _parser().parse_args(arguments)
    try:
        settings = read_settings()
    except WrongSetting as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure(settings.log_level)
    for warning in ignored_names(os.environ):
        structlog.get_logger().warning("setting ignored", reason=warning)
    try:
        sockets = listen(settings.host, settings.port)
    except (OSError, UnicodeError) as error:
        place = f"LIKELY_HOST={settings.host!r} with LIKELY_PORT={settings.port}"
        sys.stderr.write(f"{place} cannot be used: {error}\n")
        return 2
    for url in urls(sockets):
        structlog.get_logger().info(f"running on {url}")
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        timeout_keep_alive=settings.keep_alive_s,
        http="httptools",
        loop="auto",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        # By then the work is done; this bounds clients that do not read their answers.
        timeout_graceful_shutdown=5,
    )
    server = DrainingServer(config, app.state.service)
    try:
        server.run(sockets)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 1 if server.failed else 0


def _parser() -> argparse.ArgumentParser:
    """A command without arguments, whose help is about the environment."""
    return argparse.ArgumentParser(
        prog="python -m service",
        description="Serve deep generative models over HTTP. Settings are environment variables.",
        epilog=f"settings (and their defaults):\n{usage()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


if __name__ == "__main__":
    sys.exit(main())
