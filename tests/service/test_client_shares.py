"""A client that fills its share is told so, and the others are let in."""

import asyncio
from concurrent.futures import Future

import httpx
import pytest

from service.client_shares import ClientShares
from service.errors import Overloaded
from service.settings import Settings
from tests.support.service.apps import LONG, play, running, service_of, until
from tests.support.service.problems import problem_of


def test_rows_are_counted_by_client_until_they_are_answered() -> None:
    shares = ClientShares(0.5, 20)
    first: Future[None] = Future()
    shares.check("a", 20)  # alone, a request of any size
    shares.hold("a", 8, first)
    shares.check("a", 2)
    shares.check("b", 10)
    with pytest.raises(Overloaded, match="8 rows of this client"):
        shares.check("a", 3)
    shares.check("a", 8, of_request=8)  # another job of the same request
    first.set_result(None)
    shares.check("a", 20)


def test_long_samplers_of_one_do_not_close_the_door_for_others(settings: Settings) -> None:
    async def test() -> None:
        update = {"max_rows_inside": 10, "client_share": 0.5}
        async with running(settings.model_copy(update=update)) as greedy:
            long = asyncio.create_task(greedy.post("/sample", json=LONG))
            await until(lambda: service_of(greedy).engine.status().rows_inside == 4)
            refused = await greedy.post("/sample", json={"num_samples": 2})
            assert "share" in problem_of(refused, 429, "overloaded")["detail"]
            assert refused.headers["retry-after"] == "1"
            other = httpx.ASGITransport(greedy.app, client=("10.0.0.2", 1))
            async with httpx.AsyncClient(transport=other, base_url="http://test") as modest:
                brief = {"num_samples": 2, "params": {"num_steps": 1}}
                assert (await modest.post("/sample", json=brief)).status_code == 200
            long.cancel()

    play(test())
