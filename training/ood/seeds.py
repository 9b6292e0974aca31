"""One screen trained several times: what of its figures is the screen's, and what a seed's."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from training.data.readers import DataError
from training.ood.evaluation import ALPHAS, Evaluation, SeedResult


def read(report: Path) -> Evaluation:
    """The figures of an ood.json. Raises DataError for a file that is none."""
    try:
        evaluation: Evaluation = TypeAdapter(Evaluation).validate_json(report.read_bytes())
    except OSError as error:
        raise DataError(f"{report}: {error.strerror}") from error
    except ValidationError as error:
        raise DataError(f"{report} is no ood.json of evaluate-ood: {error.errors()[0]}") from error
    return evaluation


def with_seeds(evaluation: Evaluation, others: Iterable[Evaluation]) -> Evaluation:
    """The figures, beside them those of the same screen trained with other seeds.

    Raises DataError for another data set or score, and for a bundle that is there twice.
    """
    results = []
    for other in others:
        for name in ("dataset", "default_score"):
            if getattr(other, name) != getattr(evaluation, name):
                raise DataError(
                    f"{other.bundle}@{other.version} has {name} {getattr(other, name)}: accepted "
                    f"is {getattr(evaluation, name)}"
                )
        results.append(_result(other))
    versions = [evaluation.version, *(one.version for one in results)]
    if len(set(versions)) < len(versions):
        raise DataError(f"of versions {', '.join(versions)} one is there twice: it shows no spread")
    return replace(evaluation, other_seeds=tuple(results))


def spread(evaluation: Evaluation) -> list[SeedResult]:
    """All trainings in the same form, the bundle's own first."""
    return [_result(evaluation), *evaluation.other_seeds]


def _result(evaluation: Evaluation) -> SeedResult:
    first = str(ALPHAS[0])
    caught = {row.name: row.caught for row in evaluation.rows if row.caught}
    return SeedResult(
        version=evaluation.version,
        num_images=evaluation.false_alarms[first].num,
        false_alarms={alpha: rate.rate for alpha, rate in evaluation.false_alarms.items()},
        auroc={name: one.auroc for name, one in caught.items()},
        flagged={row.name: row.flagged[first].rate for row in evaluation.rows if row.caught},
        id_flagged_at_95pct_ood_caught={
            name: one.id_flagged_at_95pct_ood_caught for name, one in caught.items()
        },
    )
