"""A screen's report for people: Markdown, one HTML file that needs no other, and JSON."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from training.ood.evaluation import Evaluation
from training.ood.sections import Cells, sections

PICTURES = {
    "ood_sets.png": "The first images of every set, as the model gets them.",
    "ood_histograms.png": "Scores.",
    "ood_roc.png": "ROC curves.",
}
"""Captions of a report's pictures, by file name."""
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem; }
div { margin: 1rem 0; overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; width: 100%; }
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


def files(evaluation: Evaluation, pictures: Mapping[str, bytes]) -> dict[str, bytes]:
    """The report's files by name."""
    return {
        "ood.md": _markdown(evaluation, pictures).encode(),
        "ood.html": _html(evaluation, pictures).encode(),
        "ood.json": (json.dumps(asdict(evaluation), indent=1) + "\n").encode(),
        **pictures,
    }


def _head(evaluation: Evaluation) -> tuple[str, str]:
    return (
        f"Out-of-distribution report of {evaluation.bundle}",
        f"Bundle {evaluation.bundle}@{evaluation.version}, score {evaluation.default_score} "
        f"({evaluation.unit}), "
        f"in-distribution data {evaluation.dataset}, made on {evaluation.date} by:",
    )


def _markdown(evaluation: Evaluation, pictures: Mapping[str, bytes]) -> str:
    title, about = _head(evaluation)
    lines = [f"# {title}", "", about, "", f"    {evaluation.command}", ""]
    for heading, paragraphs, head, body in sections(evaluation):
        lines += [f"## {heading}", ""]
        lines += [text for paragraph in paragraphs for text in (paragraph, "")]
        if body:
            lines += [_line(head), _line(["---"] * len(head)), *map(_line, body), ""]
    for name in pictures:
        lines += [f"![{PICTURES[name]}]({name})", ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _html(evaluation: Evaluation, pictures: Mapping[str, bytes]) -> str:
    title, about = map(html.escape, _head(evaluation))
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>",
        f"<p>{about}</p>\n<p><code>{html.escape(evaluation.command)}</code></p>",
    ]
    for heading, paragraphs, head, body in sections(evaluation):
        parts.append(f"<h2>{html.escape(heading)}</h2>")
        parts += [f"<p>{html.escape(paragraph)}</p>" for paragraph in paragraphs]
        if body:
            parts.append(_table(head, body))
    for name, data in pictures.items():
        code = base64.b64encode(data).decode()
        parts.append(f'<p><img alt="{PICTURES[name]}" src="data:image/png;base64,{code}"></p>')
    return "\n".join([*parts, "</body>\n</html>\n"])


def _table(columns: Sequence[str], body: Cells) -> str:
    """On a narrow screen every row becomes a card, so cells carry the names of their columns.

    Long names of scores may break at their underscores, or a table is wider than the page.
    """
    names = [html.escape(name) for name in columns]
    rows = [
        "".join(
            f'<td data-label="{name}">{html.escape(cell)}</td>'
            for name, cell in zip(names, cells, strict=True)
        )
        for cells in body
    ]
    top = "".join(f"<th>{name.replace('_', '_<wbr>')}</th>" for name in names)
    lines = "\n".join(f"<tr>{row}</tr>" for row in rows)
    head = f"<thead><tr>{top}</tr></thead>"
    return f"<div><table>\n{head}\n<tbody>\n{lines}\n</tbody>\n</table></div>"
