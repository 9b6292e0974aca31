"""Classes, and who decides whether they are certain: the model's screen, or its own score."""

from dataclasses import replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from models.core.contract.rows import num_rows
from service.catalog.catalog import Served
from service.errors import NotCalibrated, ServiceError
from service.http.call import Call, receive
from service.http.inputs import events_again
from service.results import results
from service.results.screening import Judge, undecided
from service.routes.thin import ThinRoute
from service.schema.requests import ClassifyRequest
from service.schema.screening import ClassifyAnswer

router = APIRouter(route_class=ThinRoute)


@router.post("/classify", tags=["screen"], responses={200: {"model": ClassifyAnswer}})
async def classify(request: Request) -> Response:
    """The class of each image, and `uncertain` where the image is unlike all classes."""
    call = await receive(request, ClassifyRequest)
    judge, beside, note = await _judge_of(call)
    jobs = [call.submit("classify")]
    outputs = call.served.operation("classify").outputs
    if judge and (beside is not call or not set(judge.score.columns) <= set(outputs)):
        try:
            jobs.append(beside.submit(judge.score.operation))
        except ServiceError:
            jobs[0].cancel()
            raise
    answers = await call.wait(*jobs)
    rows = answers[0].rows
    decided = undecided(num_rows(rows))
    if judge:
        judged = judge.judged(answers[-1].rows)
        call.service.drift.see(judge.served, judge.name, judged.scores)
        decided = judged.decisions()
    if beside is not call:
        call = _with_notes(call, beside)
    return call.reply(
        answers,
        results=call.results(results.classes(call.served, rows, decided)),
        screen=judge.served.label if judge and judge.served.is_screen else None,
        calibration=judge.summary() if judge else None,
        note=note,
    )


async def _judge_of(
    call: Call[ClassifyRequest],
) -> tuple[Judge | None, Call[ClassifyRequest], str | None]:
    """The judge, the call with the events in its form, and why another one was not taken.

    A score that the request names is the model's own. Otherwise the screen that covers the model
    judges, if it is about events of the same shape. Raises InvalidRequest for what a judge cannot
    promise.
    """
    note = None
    screen = None if call.fields.score else call.service.store.screen_of(call.served)
    if screen is not None and (why := _unfit(call.served, screen)):
        screen, note = None, why
    if screen is not None:
        judge = Judge.of(screen, call.fields)
        return judge, await _of_screen(call, screen), None
    try:
        return Judge.of(call.served, call.fields, call.fields.score), call, note
    except NotCalibrated as error:
        return None, call, "; ".join(filter(None, (note, f"no decision: {error}")))


def _unfit(served: Served, screen: Served) -> str | None:
    """Why a screen cannot look at a model's events; None if it can."""
    if not screen.bundle.calibrations:
        return f"screen {screen.bundle.name} comes without calibration scores"
    if screen.model.event_shape != served.model.event_shape:
        return (
            f"screen {screen.bundle.name} is about events of {screen.model.event_shape}, the model "
            f"about {served.model.event_shape}"
        )
    return None


async def _of_screen(call: Call[ClassifyRequest], screen: Served) -> Call[ClassifyRequest]:
    if screen is call.served:
        return call
    assert call.uploads is not None
    limit = call.service.settings.max_images
    uploads = await events_again(
        call.body, call.uploads, call.served, screen, call.service.decoder, limit
    )
    return replace(call, served=screen, uploads=uploads)


def _with_notes(
    call: Call[ClassifyRequest], beside: Call[ClassifyRequest]
) -> Call[ClassifyRequest]:
    """The call with what was changed of each event: for the model, and then for its screen."""
    assert call.uploads is not None
    assert beside.uploads is not None
    notes = [
        own + [f"for the screen: {note}" for note in more if note not in own]
        for own, more in zip(call.uploads.converted, beside.uploads.converted, strict=True)
    ]
    return replace(call, uploads=replace(call.uploads, converted=notes))
