"""The model card of a screen: what looks at an image, and what its verdict promises."""

from models.core.bundle.bundle import Bundle
from models.core.ood.register import SCORES
from models.core.screen.config import Config


def screen_card(bundle: Bundle, dataset: str) -> str:
    """Markdown for a person; every figure comes from the bundle."""
    config = Config(**bundle.config)
    num_scores = len(bundle.calibrations["screen"].scores)
    lines = [
        f"# {bundle.name}",
        "",
        f"A screen of {dataset}: {len(config.parts)} models look at an image, "
        f"{len(config.components)} scores say how strange it is to them, and one p-value sums up.",
        "",
        "| part | family | from |",
        "| --- | --- | --- |",
        *(f"| {p.name} | `{p.family}` | {p.source} |" for p in config.all_parts),
        "",
        "| score | of | unit | what it is |",
        "| --- | --- | --- | --- |",
        *(
            f"| `{c.score}` | {c.part}{' against ' + c.background if c.background else ''} | "
            f"{SCORES[c.score].unit} | {SCORES[c.score].description} |"
            for c in config.all_components
        ),
        "",
        f"References and z-values were fitted to {config.num_fitted:,} images, p-values to "
        f"{num_scores:,} others ({bundle.calibration_source}); none of them met a gradient; "
        "some of the first chose among a run's weights.",
        "",
        "For images like those, P(p_value <= alpha) <= alpha, averaged over the draw of the "
        "calibration set. Nothing is promised about how many strange images are caught: see "
        "`report/ood.md` for what was.",
        "",
        "## Figures",
        "",
        "| figure | value |",
        "| --- | --- |",
        *(f"| {name} | {value:.4g} |" for name, value in bundle.metrics.items()),
        "",
        "## Data and provenance",
        "",
        *(f"- {key}: {value}" for key, value in bundle.provenance.items()),
        "",
    ]
    return "\n".join(lines)
