"""The model card: what a bundle is, how it was made and how it did, written from its own facts."""

from models.core.bundle import Bundle
from models.core.ood import SCORES
from training.data import Dataset


def model_card(bundle: Bundle, data: Dataset, num_parameters: int, kind: str) -> str:
    """Markdown for a person; every figure comes from the bundle's metrics."""
    default = next(iter(bundle.calibrations), None)
    sizes = ", ".join(f"{len(split):,} {name}" for name, split in data.splits.items())
    lines = [
        f"# {bundle.name}",
        "",
        f"A `{bundle.family}` with {num_parameters:,} parameters on {data.name}, "
        f"{bundle.preprocessing.width} x {bundle.preprocessing.height} pixels"
        + (f", {len(data.class_names)} classes." if bundle.class_names else ", no labels."),
        f"The number it gives for an image is **{kind}**.",
        "",
        "![samples](samples.png)",
        "",
        "## Data",
        "",
        f"- {data.source}",
        f"- Split: {data.split_rule}.",
        f"- Images: {sizes}.",
        "- Weights were fitted on the train split alone; calibration images met no gradient and no "
        "early stopping; all figures below are of the test split.",
        "",
        "## Figures",
        "",
        "| figure | value |",
        "| --- | --- |",
        *(f"| {name} | {_shown(value)} |" for name, value in bundle.metrics.items()),
        "",
        "`auroc_S_vs_X`: chance that an image of X scores stranger than a test image (0.5 is "
        "guessing, below it the score ranks them the wrong way round). `file_size` and "
        "`brightness` need no model (small files and bright images count as strange; near 0 the "
        "opposite is strange): a score that does not beat them has learned little.",
        "",
    ]
    if default:
        lines += [
            "## Screening",
            "",
            f"Default score `{default}`: {SCORES[default].description} "
            f"Calibrated on {bundle.calibration_source}. For images like those, "
            "P(p_value <= alpha) <= alpha, averaged over the draw of the calibration set; nothing "
            "is promised about how many strange images are caught.",
            "",
            f"![{default}](report/histogram_{default}.png)",
            "",
        ]
    lines += [
        "## Chains",
        "",
        "From the default start to a sample, left to right. Chains that start at uniform noise "
        "were no part of training and need not reach images:",
        "",
        "![trajectory](report/trajectory.png)",
        "",
        "## Provenance",
        "",
        *(f"- {name}: {value}" for name, value in bundle.provenance.items()),
        "",
    ]
    return "\n".join(lines)


def _shown(value: float) -> str:
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1e5 else f"{value:.3e}"
