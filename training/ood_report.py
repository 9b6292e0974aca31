"""A screen's report for people: Markdown, one HTML file that needs no other, and JSON."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from training.ood_baselines import TRIVIAL
from training.ood_evaluation import ALPHAS, Evaluation, Rate, Row

_Cells = list[list[str]]
_ABOUT = {
    "ood_sets.png": "The first images of every set, as the model gets them.",
    "ood_histograms.png": "Scores.",
    "ood_roc.png": "ROC curves.",
}
_MANY = 10_000
"""Images of a set from which on the fourth digit of an AUROC says something."""
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem; }
table { border-collapse: collapse; font-size: 0.85rem; margin: 1rem 0; width: 100%; }
th, td { border-bottom: 1px solid #d0d4da; padding: 0.3rem 0.5rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
th { vertical-align: bottom; }
img { height: auto; max-width: 100%; }
code { overflow-wrap: anywhere; }
@media (max-width: 48rem) {
  table, tbody, tr, td { display: block; }
  thead { display: none; }
  tr { border: 1px solid #d0d4da; border-radius: 6px; margin-bottom: 0.8rem; }
  td { border: 0; display: flex; gap: 1rem; justify-content: space-between; }
  td:first-child { background: #f1f3f5; font-weight: 600; }
  td:not(:first-child)::before { color: #57606a; content: attr(data-label); }
}
"""


def files(found: Evaluation, pictures: Mapping[str, bytes]) -> dict[str, bytes]:
    """The report's files by name."""
    return {
        "ood.md": _markdown(found, pictures).encode(),
        "ood.html": _html(found, pictures).encode(),
        "ood.json": (json.dumps(asdict(found), indent=1) + "\n").encode(),
        **pictures,
    }


def guarantee(found: Evaluation, alpha: float = ALPHAS[0]) -> str:
    """What is promised, and what was seen, at one alpha."""
    seen, bound = found.false_alarms[str(alpha)], found.rate_bounds[str(alpha)]
    held_out = found.calibration_source.endswith(f" held-out images of {found.dataset}")
    apart = ", disjoint from calibration" if held_out else ""
    return (
        f"With n = {found.num_calibration:,} calibration images ({found.calibration_source}), an "
        f"image from the same source is flagged at alpha = {alpha} with probability at most "
        f"{alpha} on average over calibration draws; for this calibration set the rate is below "
        f"{bound:.4f} with 95 % confidence. On the test split of {found.dataset} ({seen.num:,} "
        f"images{apart}) {seen.rate:.4f} were flagged ({_interval(seen)}). "
        "This holds only while inputs come from that source. It does not bound the share of "
        "out-of-distribution images that are missed; the table has measured shares."
    )


def _sections(found: Evaluation) -> list[tuple[str, list[str], Sequence[str], _Cells]]:
    """Title, paragraphs, table head and table body of each part of the report."""
    error = 2 * found.auroc_test_against_calibration_standard_error
    near = abs(found.auroc_test_against_calibration - 0.5) <= error
    worst = found.worst
    return [
        (
            "What is promised",
            [
                *(guarantee(found, alpha) for alpha in ALPHAS),
                f"The test split against the calibration images has AUROC "
                f"{found.auroc_test_against_calibration:.4f} +- {error:.4f} (2 standard errors): "
                + ("they are alike, as they should be." if near else "they are NOT alike."),
                f"One image alone takes {found.latency_p50_ms_at_batch_1:.1f} ms (median), "
                f"{found.latency_p95_ms_at_batch_1:.1f} ms (95th percentile) without decoding, on "
                "one thread of a machine that may have had other work: a noisy figure. Of the "
                f"processor it takes {found.processor_p50_ms_at_batch_1:.1f} ms (median).",
            ],
            (),
            [],
        ),
        (
            "What is caught",
            [
                "Higher AUROC is better, 0.5 is chance, below it a score is misled. Sets marked "
                "`dev` (development panel) may be looked at while a score is designed; all others "
                "are held out from that.",
                *(
                    [f"Worst of the panel: {worst.name}, AUROC {worst.caught.auroc:.3f}."]
                    if worst and worst.caught
                    else []
                ),
                *(f"Not to be had: {name}: {why}" for name, why in found.unavailable.items()),
            ],
            (
                *("set", "images", "AUROC, 95 % bootstrap", "best trivial score", "gain, +- 2 SE"),
                *("caught at p <= 0.05", "caught at p <= 0.01", "ID flagged at 95 % OOD caught"),
                *("OOD missed at 5 % ID flagged", "AUPR out, 1:1", "AUPR in, 1:1"),
            ),
            [_caught(row) for row in found.of_part("development", "held-out")],
        ),
        (
            "Which score catches what",
            ["AUROC of every score alone, and of scores that need no model:"],
            ("set", *_scores(found), *TRIVIAL),
            [_by_score(row) for row in found.of_part("development", "held-out")],
        ),
        (
            "False alarms by class",
            [
                f"On {found.dataset}, test split: share flagged, with its exact 95 % interval "
                "(Clopper and Pearson 1934). The promise is about all classes together."
            ],
            ("class", "images", "at p <= 0.05", "at p <= 0.01"),
            [
                [name, f"{rates[str(ALPHAS[0])].num:,}", *(_share(rates[str(a)]) for a in ALPHAS)]
                for name, rates in found.false_alarms_by_class.items()
            ],
        ),
        (
            "Flagged though hardly changed",
            ["The promise ends where images change; users will call these false alarms."],
            ("own test images", "images", "flagged at p <= 0.05", "flagged at p <= 0.01"),
            [
                [row.name, f"{row.num_images:,}", *(_share(row.flagged[str(a)]) for a in ALPHAS)]
                for row in found.of_part("benign")
            ],
        ),
        (
            "The sets",
            [],
            ("set", "part", "how it was had"),
            [[row.name, row.part, row.about] for row in found.rows],
        ),
        (
            "The trivial scores",
            ["Medians are those of training images; a higher score is stranger."],
            ("score", "definition"),
            [[name, definition] for name, definition in TRIVIAL.items()],
        ),
    ]


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
        *(f"{row.flagged[str(alpha)].rate:.3f}" for alpha in ALPHAS),
        f"{caught.id_flagged_at_95pct_ood_caught:.3f}",
        f"{caught.ood_missed_at_5pct_id_flagged:.3f}",
        f"{caught.aupr_out_at_1_to_1:.3f}",
        f"{caught.aupr_in_at_1_to_1:.3f}",
    ]


def _by_score(row: Row) -> list[str]:
    assert row.caught is not None
    each = {**row.caught.auroc_by_score, **row.caught.auroc_by_trivial_score}
    return [row.name, *(f"{auroc:.3f}" for auroc in each.values())]


def _scores(found: Evaluation) -> tuple[str, ...]:
    caught = next((row.caught for row in found.rows if row.caught), None)
    return tuple(caught.auroc_by_score) if caught else ()


def _share(rate: Rate) -> str:
    return f"{rate.rate:.4f} ({rate.low:.4f} to {rate.high:.4f})"


def _interval(rate: Rate) -> str:
    return f"95 % interval {rate.low:.4f} to {rate.high:.4f}"


def _head(found: Evaluation) -> tuple[str, str]:
    return (
        f"Out-of-distribution report of {found.bundle}",
        f"Bundle {found.bundle}@{found.version}, score {found.default_score} ({found.unit}), "
        f"in-distribution data {found.dataset}, made on {found.date} by:",
    )


def _markdown(found: Evaluation, pictures: Mapping[str, bytes]) -> str:
    title, about = _head(found)
    lines = [f"# {title}", "", about, "", f"    {found.command}", ""]
    for heading, paragraphs, head, body in _sections(found):
        lines += [f"## {heading}", ""]
        lines += [text for paragraph in paragraphs for text in (paragraph, "")]
        if body:
            lines += [_line(head), _line(["---"] * len(head)), *map(_line, body), ""]
    for name in pictures:
        lines += [f"![{_ABOUT[name]}]({name})", ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _html(found: Evaluation, pictures: Mapping[str, bytes]) -> str:
    title, about = map(html.escape, _head(found))
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>",
        f"<p>{about}</p>\n<p><code>{html.escape(found.command)}</code></p>",
    ]
    for heading, paragraphs, head, body in _sections(found):
        parts.append(f"<h2>{html.escape(heading)}</h2>")
        parts += [f"<p>{html.escape(paragraph)}</p>" for paragraph in paragraphs]
        if body:
            parts.append(_table(head, body))
    for name, data in pictures.items():
        code = base64.b64encode(data).decode()
        parts.append(f'<p><img alt="{_ABOUT[name]}" src="data:image/png;base64,{code}"></p>')
    return "\n".join([*parts, "</body>\n</html>\n"])


def _table(head: Sequence[str], body: _Cells) -> str:
    """On a narrow screen every row becomes a card, so cells carry the names of their columns."""
    names = [html.escape(name) for name in head]
    rows = [
        "".join(
            f'<td data-label="{name}">{html.escape(cell)}</td>'
            for name, cell in zip(names, cells, strict=True)
        )
        for cells in body
    ]
    top = "".join(f"<th>{name}</th>" for name in names)
    lines = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>"
