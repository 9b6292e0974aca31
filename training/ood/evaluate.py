"""Measures a screen: false alarms on its own test split, and what it catches of other sets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from models.core.bundle.bundle import Bundle
from models.core.calibration.pac import rate_bound
from training.data.readers import DataError
from training.data.splits import Split
from training.measure.trivial_scores import NUM_NEIGHBOURS, Baselines
from training.ood import metrics
from training.ood.decisions import Answers, decide
from training.ood.evaluation import ALPHAS, Caught, Evaluation, Rate, Row, Shown
from training.ood.panel import ImageSet, OwnData, panel
from training.ood.scorer import Scored, Scorer

Advance = Callable[[str], None]
"""Told what comes next, by name."""
_SHOWN = 10
"""Images of a set that the report shows."""
_UNLUCKY = 0.05
"""Share of calibration sets whose rate of false alarms may be above the bound."""


def evaluate(
    bundle: Bundle,
    source: str,
    *,
    limit: int,
    folders: Mapping[str, Path],
    command: str,
    advance: Advance = lambda _: None,
) -> tuple[Evaluation, dict[str, Shown]]:
    """The figures of a bundle that was trained on `source`, and what pictures need, by set.

    Of each other set, and of the own images that probes change, the first `limit`, 0: all; of the
    own test split always all. Raises DataError if the own data cannot be had,
    or the bundle cannot screen images, ValueError if its calibration is too small for the first
    alpha; other sets that cannot be had are named in the result.
    """
    scorer = Scorer(bundle)
    scorer.calibration.rank(ALPHAS[0])
    alphas = [alpha for alpha in ALPHAS if 1 / (scorer.calibration.num + 1) <= alpha]
    advance(f"{source}: reading")
    data = OwnData(source, scorer.form)
    baselines = Baselines.fit(data.split("train", NUM_NEIGHBOURS).x)
    own = data.split("test", 0)
    sets = panel(data.split("test", limit), source, scorer.form, limit, folders)
    asked = _asked(sets, folders)
    advance(f"{source}: test split")
    scored, trivial = scorer(own.x), baselines.scores(own.x)
    shown = {data.name: Shown(scored.default, own.x[:_SHOWN])}
    known = _as_said(own.y, data.class_names, bundle.class_names)
    rows, unavailable, decisions = [], {}, {}
    for one in sets:
        advance(one.name)
        try:
            x = asked[one.name] if one.name in asked else one.make()
        except DataError as error:
            unavailable[one.name] = str(error)
            continue
        strange = scorer(x)
        caught = None
        if one.part != "benign":
            caught = _caught(scored, strange, trivial, baselines.scores(x), scorer.name)
            if known is not None and (mixed := _mixed(scored, known, strange)) is not None:
                decisions[one.name] = decide(mixed, ALPHAS[0])
        rows.append(
            Row(one.name, one.part, one.about, len(x), _rates(strange.p_value, alphas), caught)
        )
        shown[one.name] = Shown(strange.default, x[:_SHOWN])
    evaluation = _evaluation(scorer, data, own, scored, rows, unavailable, alphas, command)
    return replace(evaluation, decisions=decisions), shown


def _as_said(y: np.ndarray, names: Sequence[str], said_names: Sequence[str]) -> np.ndarray | None:
    """Labels as indices of the classes that a bundle says; -1 for what it cannot say.

    None where it can say no class of this data set. Shapes: int (N,) -> int (N,).
    """
    index = np.array([said_names.index(name) if name in said_names else -1 for name in names])
    return index[y] if (index >= 0).any() else None


def _asked(sets: Sequence[ImageSet], folders: Mapping[str, Path]) -> dict[str, np.ndarray]:
    """Images of the user's folders, uint8 (N, C, H, W) by name, before any work is done.

    What was asked for must not be missing at the end: raises DataError for a folder that holds no
    images, or a broken one, or has the name of another set.
    """
    names = [one.name for one in sets]
    if taken := [name for name in folders if names.count(name) > 1]:
        raise DataError(f"--folder {taken[0]}: there is a set of that name, use another")
    return {one.name: one.make() for one in sets if one.name in folders}


def _mixed(own: Scored, y: np.ndarray, strange: Scored) -> Answers | None:
    """Answers about as many own images as others; None where no class is said."""
    if own.confidence is None or own.said is None or strange.confidence is None:
        return None
    num = min(len(y), len(strange.p_value))
    right: np.ndarray = np.equal(own.said, y)[:num]
    known = Answers(own.confidence[:num], right, own.p_value[:num])
    wrong = np.zeros(num, dtype=bool)
    return known + Answers(strange.confidence[:num], wrong, strange.p_value[:num])


def num_sets(source: str, bundle: Bundle, folders: Mapping[str, Path]) -> int:
    """How often `evaluate` says what comes next."""
    assert bundle.preprocessing is not None
    nothing = Split(np.empty((0, 1, 1, 1), np.uint8), np.empty(0, np.int64))
    return len(panel(nothing, source, bundle.preprocessing, 0, folders)) + 2


def _evaluation(
    scorer: Scorer,
    data: OwnData,
    own: Split,
    scored: Scored,
    rows: list[Row],
    unavailable: Mapping[str, str],
    alphas: Sequence[float],
    command: str,
) -> Evaluation:
    bundle, calibration = scorer.bundle, scorer.calibration
    known, num = calibration.scores.numpy(), len(calibration.scores)
    p50, p95, busy = scorer.latency_ms(own.x)
    return Evaluation(
        bundle=bundle.name,
        version=bundle.version,
        dataset=data.name,
        date=datetime.now(UTC).date().isoformat(),
        command=command,
        default_score=scorer.name,
        unit=scorer.unit,
        calibration_source=bundle.calibration_source,
        num_calibration=num,
        thresholds={str(alpha): calibration.threshold(alpha) for alpha in alphas},
        rate_bounds={
            str(alpha): rate_bound(num, calibration.rank(alpha), _UNLUCKY) for alpha in alphas
        },
        false_alarms=_rates(scored.p_value, alphas),
        false_alarms_by_class={
            data.class_names[label]: _rates(scored.p_value[own.y == label], alphas)
            for label in np.unique(own.y)
        },
        auroc_test_against_calibration=metrics.auroc(known, scored.default),
        auroc_test_against_calibration_standard_error=metrics.standard_error(known, scored.default),
        latency_p50_ms_at_batch_1=p50,
        latency_p95_ms_at_batch_1=p95,
        processor_p50_ms_at_batch_1=busy,
        rows=tuple(rows),
        unavailable=unavailable,
        num_dataset=0 if data.is_named else data.num_images,
        classes_unknown=bool(bundle.class_names)
        and not set(bundle.class_names) & set(data.class_names),
    )


def _rates(p_value: np.ndarray, alphas: Sequence[float]) -> dict[str, Rate]:
    return {str(alpha): Rate.of(p_value <= alpha) for alpha in alphas}


def _caught(
    own: Scored,
    strange: Scored,
    own_trivial: Mapping[str, np.ndarray],
    trivial: Mapping[str, np.ndarray],
    name: str,
) -> Caught:
    pair = own.default, strange.default
    auroc, by_trivial = metrics.auroc(*pair), _aurocs(own_trivial, trivial)
    best = max(by_trivial, key=lambda one: by_trivial[one])
    both = (own.default, own_trivial[best]), (strange.default, trivial[best])
    low, high = metrics.auroc_interval(*pair)
    aupr_out, aupr_in = metrics.aupr(*pair)
    return Caught(
        auroc=auroc,
        auroc_low=low,
        auroc_high=high,
        auroc_standard_error=metrics.standard_error(*pair),
        aupr_out_at_1_to_1=aupr_out,
        aupr_in_at_1_to_1=aupr_in,
        id_flagged_at_95pct_ood_caught=metrics.id_flagged_at_95pct_ood_caught(*pair),
        ood_missed_at_5pct_id_flagged=metrics.ood_missed_at_5pct_id_flagged(*pair),
        auroc_by_score={name: auroc, **_aurocs(own.others, strange.others)},
        auroc_by_trivial_score=by_trivial,
        best_trivial_score=best,
        gain=auroc - by_trivial[best],
        gain_standard_error=metrics.standard_error_of_difference(*both),
    )


def _aurocs(own: Mapping[str, np.ndarray], strange: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: metrics.auroc(own[name], strange[name]) for name in own}
