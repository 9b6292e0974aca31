"""What the report of a screen says, part by part: paragraphs and tables, in no format yet."""

from collections.abc import Sequence

from training.measure.trivial_scores import TRIVIAL
from training.ood.decisions import CERTAIN
from training.ood.evaluation import ALPHAS, Evaluation, Rate, Row
from training.ood.seeds import spread

Cells = list[list[str]]
"""Rows of a table."""
Section = tuple[str, list[str], Sequence[str], Cells]
"""Title, paragraphs, table head and table body; both empty where there is no table."""
_MANY = 10_000
"""Images of a set from which on the fourth digit of an AUROC says something."""


def guarantee(evaluation: Evaluation, alpha: float = ALPHAS[0]) -> str:
    """What is promised, and what was seen, at one alpha."""
    seen, bound = evaluation.false_alarms[str(alpha)], evaluation.rate_bounds[str(alpha)]
    held_out = evaluation.calibration_source.endswith(f" held-out images of {evaluation.dataset}")
    apart = ", disjoint from calibration" if held_out else ""
    above, num = "", evaluation.num_dataset
    whole = f" of its {num:,}; --data uses no others for figures" if num else ""
    if seen.low > bound:
        above = (
            "That is more than this calibration set allows: the sources are not quite the same. "
        )
    elif seen.low > alpha:
        above = f"That is more than {alpha}, as one calibration set may have it. "
    return (
        f"With n = {evaluation.num_calibration:,} calibration images "
        f"({evaluation.calibration_source}), an image from the same source is flagged at "
        f"alpha = {alpha} with probability at most {alpha} on average over "
        "calibration draws; for this calibration set the rate is below "
        f"{bound:.4f} with 95 % confidence. On the test split of {evaluation.dataset} "
        f"({seen.num:,} images{whole}{apart}) {seen.rate:.4f} were flagged ({_interval(seen)}). "
        f"{above}"
        "This holds only while inputs come from that source. It does not bound the share of "
        "out-of-distribution images that are missed; the table has measured shares."
    )


def sections(evaluation: Evaluation) -> list[Section]:
    """All parts of the report, in order."""
    error = 2 * evaluation.auroc_test_against_calibration_standard_error
    near = abs(evaluation.auroc_test_against_calibration - 0.5) <= error
    worst = evaluation.worst
    return [
        (
            "What is promised",
            [
                *(guarantee(evaluation, alpha) for alpha in evaluation.alphas),
                *evaluation.left_out,
                f"The test split against the calibration images has AUROC "
                f"{evaluation.auroc_test_against_calibration:.4f} +- {error:.4f} "
                "(2 standard errors): "
                + ("it sees no difference, as it should." if near else "they are NOT alike."),
                f"One image alone takes {evaluation.latency_p50_ms_at_batch_1:.1f} ms (median), "
                f"{evaluation.latency_p95_ms_at_batch_1:.1f} ms (95th percentile) without "
                "decoding, on one thread of a machine that may have had other work: a noisy "
                "figure. Of the processor it takes "
                f"{evaluation.processor_p50_ms_at_batch_1:.1f} ms (median).",
            ],
            (),
            [],
        ),
        (
            "What is caught",
            [
                "Higher AUROC is better, 0.5 is chance, below it a score is misled. Sets marked "
                "dev (development panel) may be looked at while a score is designed; all others "
                "are held out from that.",
                *(
                    [f"Worst of the panel: {worst.name}, AUROC {worst.caught.auroc:.3f}."]
                    if worst and worst.caught
                    else []
                ),
                *(f"Not to be had: {name}: {why}" for name, why in evaluation.unavailable.items()),
            ],
            (
                *("set", "images", "AUROC, 95 % bootstrap", "best trivial score", "gain, +- 2 SE"),
                *(f"caught at p <= {alpha}" for alpha in evaluation.alphas),
                "ID flagged at 95 % OOD caught",
                *("OOD missed at 5 % ID flagged", "AUPR out, 1:1", "AUPR in, 1:1"),
            ),
            [_caught(row) for row in evaluation.of_part("development", "held-out")],
        ),
        (
            "Which score catches what",
            ["AUROC of every score alone, and of scores that need no model:"],
            ("set", *_scores(evaluation), *TRIVIAL),
            [_by_score(row) for row in evaluation.of_part("development", "held-out")],
        ),
        *_seeds(evaluation),
        *_decisions(evaluation),
        (
            "False alarms by class",
            [
                f"On {evaluation.dataset}, test split: share flagged, with its exact 95 % interval "
                "(Clopper and Pearson 1934). The promise is about all classes together."
            ],
            ("class", "images", *(f"at p <= {alpha}" for alpha in evaluation.alphas)),
            [
                [
                    name,
                    f"{rates[str(ALPHAS[0])].num:,}",
                    *(_share(rates[str(a)]) for a in evaluation.alphas),
                ]
                for name, rates in evaluation.false_alarms_by_class.items()
            ],
        ),
        (
            "Flagged though hardly changed",
            ["The promise ends where images change; users will call these false alarms."],
            ("own test images", "images", *(f"flagged at p <= {a}" for a in evaluation.alphas)),
            [
                [
                    row.name,
                    f"{row.num_images:,}",
                    *(_share(row.flagged[str(a)]) for a in evaluation.alphas),
                ]
                for row in evaluation.of_part("benign")
            ],
        ),
        (
            "The sets",
            [],
            ("set", "part", "how it was had"),
            [[row.name, row.part, row.about] for row in evaluation.rows],
        ),
        (
            "The trivial scores",
            ["Medians are those of training images; a higher score is stranger."],
            ("score", "definition"),
            [[name, definition] for name, definition in TRIVIAL.items()],
        ),
    ]


def _seeds(evaluation: Evaluation) -> list[Section]:
    """How much another training seed changes; nothing where there was one."""
    if not evaluation.other_seeds:
        return []
    all_of = spread(evaluation)
    about = (
        f"Mean, lowest and highest of {len(all_of)} screens that differ in the seed their parts "
        "were trained with: "
        + ", ".join(f"{one.version} ({one.num_images:,} own test images)" for one in all_of)
        + ". All were calibrated on the same images."
    )
    alarms = [
        f"False alarms at p <= {alpha}: {_range([one.false_alarms[str(alpha)] for one in all_of])}."
        for alpha in evaluation.alphas
        if all(str(alpha) in one.false_alarms for one in all_of)
    ]
    head = ("set", "AUROC", f"caught at p <= {ALPHAS[0]}", "ID flagged at 95 % OOD caught")
    columns = (
        [one.auroc for one in all_of],
        [one.flagged for one in all_of],
        [one.id_flagged_at_95pct_ood_caught for one in all_of],
    )
    body = [
        [name, *(_range([by_set[name] for by_set in column]) for column in columns)]
        for name in all_of[0].auroc
        if all(name in one.auroc for one in all_of)
    ]
    return [("Other training seeds", [about, *alarms], head, body)]


def _range(values: Sequence[float]) -> str:
    mean = sum(values) / len(values)
    return f"{mean:.4f} ({min(values):.4f} to {max(values):.4f})"


def _decisions(evaluation: Evaluation) -> list[Section]:
    """What the screen is worth to the classifier; nothing where no class is said."""
    if evaluation.classes_unknown:
        words = f"Left out: the classes of {evaluation.dataset} have none of the bundle's names."
        return [("Sure and wrong", [words], (), [])]
    if not evaluation.decisions:
        return []
    about = (
        f"Of mixtures of as many own test images as others: the share of all at which the softmax "
        f"is at least {CERTAIN:g} and the answer is wrong (about another set every answer is), "
        f"without the screen and with answers at p <= {ALPHAS[0]:g} taken back; the share that is "
        "certain and right; and the area under the risk-coverage curve (less is better), with "
        "answers taken by falling softmax, and with those taken back at the very end."
    )
    head = (
        *("others", "sure and wrong", "with the screen", "sure and right", "with the screen"),
        *("AURC, softmax", "AURC, screened"),
    )
    body = [
        [
            name,
            *(
                f"{share:.3f}"
                for share in (
                    *(d.wrong_and_certain_before, d.wrong_and_certain_after),
                    *(d.right_and_certain_before, d.right_and_certain_after),
                    *(d.aurc_softmax, d.aurc_screened),
                )
            ),
        ]
        for name, d in evaluation.decisions.items()
    ]
    return [("Sure and wrong", [about], head, body)]


def _caught(row: Row) -> list[str]:
    caught = row.caught
    assert caught is not None
    digits = 4 if row.num_images >= _MANY else 3
    gain = f"{caught.gain:+.3f} +- {2 * caught.gain_standard_error:.3f}"
    return [
        f"{row.name} (dev)" if row.part == "development" else row.name,
        f"{row.num_images:,}",
        f"{caught.auroc:.{digits}f} "
        f"({caught.auroc_low:.{digits}f} to {caught.auroc_high:.{digits}f})",
        f"{caught.auroc_by_trivial_score[caught.best_trivial_score]:.3f} "
        f"{caught.best_trivial_score}",
        gain if caught.is_gain else f"no gain ({gain})",
        *(f"{rate.rate:.3f}" for rate in row.flagged.values()),
        f"{caught.id_flagged_at_95pct_ood_caught:.3f}",
        f"{caught.ood_missed_at_5pct_id_flagged:.3f}",
        f"{caught.aupr_out_at_1_to_1:.3f}",
        f"{caught.aupr_in_at_1_to_1:.3f}",
    ]


def _by_score(row: Row) -> list[str]:
    assert row.caught is not None
    each = {**row.caught.auroc_by_score, **row.caught.auroc_by_trivial_score}
    return [row.name, *(f"{auroc:.3f}" for auroc in each.values())]


def _scores(evaluation: Evaluation) -> tuple[str, ...]:
    caught = next((row.caught for row in evaluation.rows if row.caught), None)
    return tuple(caught.auroc_by_score) if caught else ()


def _share(rate: Rate) -> str:
    return f"{rate.rate:.4f} ({rate.low:.4f} to {rate.high:.4f})"


def _interval(rate: Rate) -> str:
    return f"95 % interval {rate.low:.4f} to {rate.high:.4f}"
