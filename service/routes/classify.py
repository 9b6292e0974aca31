"""Classes, and who decides whether they are certain: the model's screen, or its own score."""

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from models.core.contract.rows import num_rows
from service.catalog.description import ModelDescription
from service.errors import NotCalibrated
from service.http.call import Call, receive
from service.http.endpoint import Endpoint
from service.http.inputs import Uploads, events_again
from service.http.job import Job
from service.results import results
from service.results.screening import Screener, undecided
from service.routes.thin import Endpoints
from service.schema.requests import ClassifyRequest
from service.schema.screening import ClassifyAnswer

router = Endpoints()
CLASSIFY = Endpoint("/classify", "screen", ClassifyRequest, ClassifyAnswer)


@router.answers(CLASSIFY)
async def classify(request: Request) -> Response:
    """The class of each image, and `uncertain` where the image is unlike all classes."""
    call = await receive(request, CLASSIFY)
    screener, note = _screener_of(call)
    uploads = call.events if screener is None else await _uploads_for(call, screener.model)
    job = call.job("classify")
    screening = None if screener is None else _screening_job(screener, job, uploads)
    answers = await call.run(job, screening) if screening else await call.run(job)
    classified, *others = answers
    (columns,) = others or [classified]
    screened = None if screener is None else screener.screen(columns.rows)
    decisions = screened.decisions() if screened else undecided(num_rows(classified.rows))
    classes = results.classes(call.model, classified.rows, decisions)
    if uploads is not call.uploads:
        call = _with_notes(call, uploads)
    return call.reply(
        answers,
        results=call.results(classes),
        screen=screener.model.label if screener and screener.model.is_screen else None,
        calibration=screener.summary() if screener else None,
        note=note,
    )


def _screener_of(call: Call[ClassifyRequest]) -> tuple[Screener | None, str | None]:
    """Who decides, and why nobody does, or why it is not the model's screen.

    A score that the request names is the model's own. Otherwise the screen that covers the model
    decides, if it is about events of the same shape. Raises InvalidRequest for what a screener
    cannot promise.
    """
    note = None
    drift = call.service.drift
    screen = None if call.fields.score else call.service.catalog.screen_of(call.model)
    if screen is not None and (why := _unfit(call.model, screen)):
        screen, note = None, why
    if screen is not None:
        return Screener.of(screen, call.fields, drift), None
    try:
        return Screener.of(call.model, call.fields, drift, call.fields.score), note
    except NotCalibrated as error:
        return None, "; ".join(filter(None, (note, f"no decision: {error}")))


def _unfit(model: ModelDescription, screen: ModelDescription) -> str | None:
    """Why a screen cannot look at a model's events; None if it can."""
    if not screen.calibrations:
        return f"screen {screen.name} comes without calibration scores"
    if screen.event_shape != model.event_shape:
        return (
            f"screen {screen.name} is about events of {screen.event_shape}, the model "
            f"about {model.event_shape}"
        )
    return None


async def _uploads_for(call: Call[ClassifyRequest], model: ModelDescription) -> Uploads:
    """The events in the form of the model that screens them."""
    if model.label == call.model.label:
        return call.events
    limit = call.service.settings.max_images
    return await events_again(
        call.body, call.events, call.model, model, call.service.decoder, limit
    )


def _screening_job(screener: Screener, classification: Job, uploads: Uploads) -> Job | None:
    """What gives the columns of the score; None if the classification has them."""
    operation = classification.operation
    if screener.model.label == operation.lane.model and set(screener.score.columns) <= set(
        operation.outputs
    ):
        return None
    return Job.of(screener.model, screener.model.operation(screener.score.operation), uploads)


def _with_notes(call: Call[ClassifyRequest], screened: Uploads) -> Call[ClassifyRequest]:
    """The call with what was changed of each event: for the model, and then for its screen."""
    notes = [
        own + [f"for the screen: {note}" for note in more if note not in own]
        for own, more in zip(call.events.converted, screened.converted, strict=True)
    ]
    return replace(call, uploads=replace(call.events, converted=notes))
