"""Waiting for the worker's answers: a hang-up or a deadline cancels the work."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from starlette.requests import Request

from service.engine.messages import Answer
from service.errors import ClientGone, DeadlineExceeded


async def until_done(
    futures: Sequence[Future[Answer]], request: Request, timeout_s: float
) -> list[Answer]:
    """Await the answers; cancel their work when the client hangs up or the time is over.

    The request's body must have been read. Raises what the work raises, ClientGone or
    DeadlineExceeded.
    """
    results = asyncio.gather(*(asyncio.wrap_future(future) for future in futures))
    results.add_done_callback(_look_at)
    gone = asyncio.create_task(_disconnected(request))
    try:
        waits: set[asyncio.Future[Any]] = {results, gone}
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if results.done():
            return results.result()
        if gone.done():
            raise ClientGone("the client hung up")
        raise DeadlineExceeded(f"no answer within {timeout_s:g} s: ask for less, or try later")
    finally:
        gone.cancel()
        results.cancel()
        for future in futures:
            future.cancel()


def _look_at(results: asyncio.Future[list[Answer]]) -> None:
    """Fetch what nobody waits for any more, or asyncio would complain that nobody did."""
    if not results.cancelled():
        results.exception()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
