"""From the bundles that are found to lanes of the worker, and to the catalog of what is in them."""

from collections.abc import Callable

from models.core.bundle.bundle import load
from service.catalog.catalog import Catalog
from service.catalog.loaded import LoadedModel, shelve
from service.catalog.locations import bundles_at
from service.engine.messages import Load, Skipped
from service.engine.worker import Worker
from service.errors import ShuttingDown


class NothingToServe(RuntimeError):
    """Not one bundle could be loaded."""


def load_catalog(message: Load, worker: Worker) -> Catalog:
    """Load all bundles and open a lane for each of their operations, on the worker's thread.

    Raises NothingToServe, or ShuttingDown if the worker was told to take no more work.
    """
    models, failed = fill(
        message.bundles,
        message.backend,
        message.num_threads,
        lambda url, error: worker.emit(Skipped(url, str(error))),
        lambda: worker.draining,
    )
    if worker.draining:
        raise ShuttingDown("the service was stopped while it loaded its models")
    if not models:
        raise NothingToServe(f"no bundle could be loaded: {'; '.join(failed.values())}")
    for model in models.values():
        for name, operation in model.operations.items():
            max_work = model.max_work(name, message.max_step_ms)
            worker.open(model.lane(name), operation, message.max_rows, max_work)
    descriptions = {name: model.describe() for name, model in models.items()}
    wish = message.default_model
    default = wish if wish in models else next(iter(models))
    return Catalog(descriptions, failed, default, message.default_screen)


def fill(
    urls: tuple[str, ...],
    backend: str,
    num_threads: int,
    report: Callable[[str, Exception], None],
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[dict[str, LoadedModel], dict[str, str]]:
    """Load every bundle that is found: the models by name, and why others failed by place.

    A damaged one is reported and left out; once `stopped`, no more are loaded. Call it on the
    thread that will run the models.
    """
    models: dict[str, LoadedModel] = {}
    failed: dict[str, str] = {}
    for url in urls:
        try:
            for location in bundles_at(url):
                if stopped():
                    return models, failed
                try:
                    model = shelve(load(location), backend, num_threads)
                    if model.bundle.name in models:
                        raise ValueError(f"another bundle is named {model.bundle.name} too")
                    models[model.bundle.name] = model
                except Exception as error:  # whatever is wrong with it, the others can be served
                    failed[location] = str(error)
                    report(location, error)
        except Exception as error:  # of another place, say a storage without its driver
            failed[url] = str(error)
            report(url, error)
    return models, failed
