"""Events made for a request: at once, as an animation, or with news while they are made."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any, TypeVar

from starlette.responses import Response

from models.core.contract.rows import Rows
from service.engine.ticket import Answer, Viewer
from service.http.call import Call
from service.http.forms import animation, samples
from service.http.forms import event_stream as events
from service.http.forms.animation import Film
from service.http.forms.event_stream import EVENTS, Progress
from service.http.params import operation_params
from service.schema.requests import MakeRequest

FORMS = (*samples.FORMS, EVENTS)
M = TypeVar("M", bound=MakeRequest)
Members = Callable[[Rows], dict[str, Any]]
"""What a JSON answer has beside the events, from the result columns."""


async def make(
    call: Call[M],
    name: str,
    num: int,
    seed: int,
    members: Members,
    label: int | str | None = None,
) -> Response:
    """Run an operation that makes events and answer with its column x.

    Raises whatever is wrong with the request, and what the work raises.
    """
    samples.check_form(call)
    fields = call.fields
    operation = call.served.operation(name)
    params = operation_params(operation, fields.params)
    num_steps = operation.num_steps(params)
    about = {"kind": call.served.model.likelihood, "params": asdict(params), "seed": seed}

    def submit(viewer: Viewer | None = None) -> Future[Answer]:
        return call.submit(
            name, params=fields.params, label=label, seed=seed, num=num, viewer=viewer
        )

    def finish(call: Call[M], answers: list[Answer]) -> Response:
        beside = {**about, **members(answers[0].rows)}
        return samples.reply(call, answers, fields.format, beside, seed)

    if call.media_type in samples.ANIMATIONS:
        film = Film(num_steps, fields.progress_every, operation.stops_early)
        return await animation.reply(call, film, num, lambda: submit(film), seed)
    if call.media_type == EVENTS:
        progress = Progress(num, num_steps, fields.progress_every, num)
        return events.reply(call, submit(progress), progress, finish)
    return await asyncio.to_thread(finish, call, await call.wait(submit()))
