"""Events made for a request: at once, as an animation, or with news while they are made."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

from starlette.responses import Response

from models.core.contract.rows import Rows
from service.engine.messages import Answer
from service.http.call import Call
from service.http.forms import animation, event_stream, samples
from service.http.forms.event_stream import EVENTS, Progress
from service.http.job import Job
from service.http.params import params_from
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
    label: int = -1,
) -> Response:
    """Run an operation that makes events and answer with its column x.

    `label` is the index of a class, -1 for none.

    Raises whatever is wrong with the request, and what the work raises.
    """
    samples.check_form(call)
    fields = call.fields
    operation = call.model.operation(name)
    params = params_from(operation, fields.params)
    job = Job.of(
        call.model, operation, call.uploads, params=params, label=label, seed=seed, num=num
    )
    about = {"kind": call.model.likelihood, "params": asdict(params), "seed": seed}

    def finish(call: Call[M], answers: list[Answer]) -> Response:
        beside = {**about, **members(answers[0].rows)}
        return samples.reply(call, answers, fields.format, beside, seed)

    if call.media_type in samples.ANIMATIONS:
        return await animation.reply(call, job, await call.plan(job))
    if call.media_type == EVENTS:
        plan = await call.plan(job)
        progress = Progress(num, plan.num_steps, fields.progress_every, num)
        answer = await call.submit(job, progress.previews, progress.show)
        return event_stream.reply(call, answer, progress, finish)
    return await asyncio.to_thread(finish, call, await call.run(job))
