"""Every way in which a request can fail: one small class each, with status, title and slug."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

MAX_ERRORS = 20  # are listed of what is wrong with a request; `num_errors` counts all


class ServiceError(Exception):
    """The text says what was wrong and what is accepted."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "the service failed"
    slug: ClassVar[str] = "internal"

    @property
    def headers(self) -> Mapping[str, str]:
        """HTTP headers that go with this failure."""
        return {}

    @property
    def extensions(self) -> Mapping[str, object]:
        """Members of the problem document beyond the standard ones."""
        return {}

    def document(self, instance: str) -> dict[str, object]:
        """The problem as RFC 9457 has it, of the request with this id."""
        return {
            "type": f"/problems/{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": str(self),
            "instance": instance,
            **self.extensions,
        }


class MalformedBody(ServiceError):
    """The body is empty, or cannot be parsed as what its content type says."""

    status, title, slug = 400, "the body cannot be read", "malformed-body"


class InvalidRequest(ServiceError):
    """A field or parameter is missing, unknown or out of range; `errors` lists the first 20."""

    status, title, slug = 422, "the request is not valid", "invalid-request"

    def __init__(self, detail: str, errors: Sequence[Mapping[str, str]] = (), num: int = 0) -> None:
        super().__init__(detail)
        self.errors = list(errors[:MAX_ERRORS])
        self.num_errors = num or len(errors)

    @property
    def extensions(self) -> Mapping[str, object]:
        return {"errors": self.errors, "num_errors": self.num_errors} if self.errors else {}


class InvalidImage(ServiceError):
    """An upload is no image that is accepted; `index` counts from 0."""

    status, title, slug = 422, "an image cannot be read", "invalid-image"

    def __init__(self, detail: str, index: int) -> None:
        super().__init__(f"image {index}: {detail}")
        self.index = index

    @property
    def extensions(self) -> Mapping[str, object]:
        return {"index": self.index}


class InvalidArray(ServiceError):
    """The lists or the npy array do not have the model's shape, type or range."""

    status, title, slug = 422, "the array is not valid", "invalid-array"


class NotLossless(ServiceError):
    """An image would have to be changed to fit the model, so it would not come back as it is."""

    status, title, slug = 422, "not without loss", "not-lossless"

    def __init__(self, detail: str, index: int) -> None:
        super().__init__(f"image {index}: {detail}")
        self.index = index

    @property
    def extensions(self) -> Mapping[str, object]:
        return {"index": self.index}


class NotAStream(ServiceError):
    """What should be decompressed was not made by /compress."""

    status, title, slug = 422, "not a stream", "not-a-stream"


class UnknownStreamFormat(ServiceError):
    """The stream was made by a newer version of the service."""

    status, title, slug = 422, "unknown format of stream", "unknown-stream-format"


class DamagedStream(ServiceError):
    """The stream is truncated, has bytes too many, or says things that cannot be."""

    status, title, slug = 422, "the stream is damaged", "damaged-stream"


class OtherModel(ServiceError):
    """The stream was made by a bundle that is not loaded; `needs` names it."""

    status, title, slug = 422, "made by another model", "other-model"

    def __init__(self, detail: str, needs: str) -> None:
        super().__init__(detail)
        self.needs = needs

    @property
    def extensions(self) -> Mapping[str, object]:
        return {"needs": self.needs}


class OtherBackend(ServiceError):
    """The stream was made in an arithmetic that is not this service's."""

    status, title, slug = 422, "made in another arithmetic", "other-backend"


class TooManyRows(ServiceError):
    """One request asks for more samples or frames or brings more images than are accepted."""

    status, title, slug = 422, "the request is too large", "too-many-rows"


class UnsupportedOperation(ServiceError):
    """The model exists but cannot do this."""

    status, title, slug = 422, "the model cannot do that", "unsupported-operation"


class NotCalibrated(ServiceError):
    """The bundle holds no calibration for the score."""

    status, title, slug = 422, "the model is not calibrated for that", "not-calibrated"


class UnknownModel(ServiceError):
    """No bundle of this name is loaded."""

    status, title, slug = 404, "unknown model", "unknown-model"


class NotFound(ServiceError):
    """No endpoint has this path."""

    status, title, slug = 404, "not found", "not-found"


class MethodNotAllowed(ServiceError):
    """The endpoint exists but not for this method; `Allow` lists those it has."""

    status, title, slug = 405, "method not allowed", "method-not-allowed"


class NotAcceptable(ServiceError):
    """The answer cannot be given in any form that `Accept` names."""

    status, title, slug = 406, "no acceptable form of answer", "not-acceptable"


class BodyTimeout(ServiceError):
    """The body did not arrive in time."""

    status, title, slug = 408, "the body did not arrive in time", "body-timeout"


class PayloadTooLarge(ServiceError):
    """The body, or an image once decoded, is larger than the limit."""

    status, title, slug = 413, "too large", "payload-too-large"


class UnsupportedMediaType(ServiceError):
    """The body's content type is none that this endpoint reads."""

    status, title, slug = 415, "unsupported content type", "unsupported-media-type"


class Overloaded(ServiceError):
    """Too much work is waiting; `Retry-After` estimates when there will be room."""

    status, title, slug = 429, "overloaded", "overloaded"

    def __init__(self, detail: str, retry_after_s: float) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(max(1, math.ceil(self.retry_after_s)))}


class ClientGone(ServiceError):
    """The client hung up before the answer; seen in the log and the metrics only."""

    status, title, slug = 499, "the client hung up", "client-gone"


class StepFailed(ServiceError):
    """The model failed on these inputs; the log holds the reason."""

    status, title, slug = 500, "the model failed", "step-failed"


class NotReady(ServiceError):
    """The bundles are still loading, or none could be loaded."""

    status, title, slug = 503, "not ready", "not-ready"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": "1"}


class ShuttingDown(ServiceError):
    """The service is stopping and takes no new work; another replica may."""

    status, title, slug = 503, "shutting down", "shutting-down"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": "1"}


class DeadlineExceeded(ServiceError):
    """No answer within the time that the service gives a request; the work was cancelled."""

    status, title, slug = 504, "the answer took too long", "deadline-exceeded"


PROBLEMS: dict[str, type[ServiceError]] = {
    kind.slug: kind
    for kind in list(vars().values())
    if isinstance(kind, type) and issubclass(kind, ServiceError)
}
"""All ways to fail by slug."""
