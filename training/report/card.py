"""The model card: what a bundle is, how it was made and how it did, written from its own facts."""

from collections.abc import Collection

from models.core.bundle.bundle import Bundle
from models.core.contract.likelihood import Likelihood
from models.core.contract.model import GenerativeModel
from models.core.ood.register import SCORES
from training.data.splits import Dataset


def model_card(
    bundle: Bundle,
    data: Dataset,
    num_parameters: int,
    model: GenerativeModel,
    pictures: Collection[str],
    fitted_to_data: bool = True,
    note: str = "",
    left_out: Collection[str] = (),
) -> str:
    """Markdown for a person; every figure comes from the bundle's metrics.

    `pictures` are the paths of those beside the card, from the bundle's folder; `left_out` are the
    data sets that could not be had when it was measured.
    """
    default = next(iter(bundle.calibrations), None)
    thing = "an image" if bundle.preprocessing else "a row"
    sizes = ", ".join(f"{len(split):,} {name}" for name, split in data.splits.items())
    lines = [
        f"# {bundle.name}",
        "",
        f"A `{bundle.family}` with {num_parameters:,} parameters on {data.name}, "
        + _events(bundle, model)
        + (f", {len(bundle.class_names)} classes." if bundle.class_names else ", no labels."),
        f"The number it gives for {thing} is **{model.likelihood}**.",
        "",
        "![samples](samples.png)",
        "",
        "## Data",
        "",
        f"- {data.source}",
        f"- Split: {data.split_rule}.",
        f"- Events: {sizes}.",
        *_binarisation(bundle),
        (
            "- Weights were fitted on the train split alone; calibration"
            if fitted_to_data
            else "- Weights met no data: they were fitted to a density known up to its constant, "
            "by reverse KL over the flow's own samples. Calibration"
        )
        + " events met no gradient and no early stopping; all figures below are of the test split.",
        *([f"- {note}"] if note else []),
        "",
        "## Figures",
        "",
        "| figure | value |",
        "| --- | --- |",
        *(f"| {name} | {_shown(value)} |" for name, value in bundle.metrics.items()),
        "",
        *_likelihood_notes(bundle, model),
        *_divergence_notes(bundle),
        *_fid_notes(bundle),
        *(
            [f"Left out, since they could not be had: {', '.join(left_out)}.", ""]
            if left_out
            else []
        ),
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
    if "report/trajectory.png" in pictures:
        trajectory = model.notes().trajectory
        lines += [
            "## How a sample comes about",
            "",
            "From the start to a sample, left to right, by default settings."
            + (f" {trajectory}" if trajectory else ""),
            "",
            "![trajectory](report/trajectory.png)",
            "",
        ]
    if "report/reconstructions.png" in pictures:
        lines += [*_latent_pictures(pictures), ""]
    lines += [
        "## Provenance",
        "",
        *(f"- {name}: {value}" for name, value in bundle.provenance.items()),
        "",
    ]
    return "\n".join(lines)


def _latent_pictures(pictures: Collection[str]) -> list[str]:
    plane = "report/plane.png" in pictures
    return [
        "## Latents",
        "",
        "Test events in rows, each above what `reconstruct` makes of it by default.",
        "",
        "![reconstructions](report/reconstructions.png)",
        "",
        "What `decode` makes of "
        + ("the plane." if plane else "straight lines between the latents of two test events."),
        "",
        "![decoded](report/plane.png)" if plane else "![decoded](report/walks.png)",
        "",
        "![units](report/units.png)",
    ]


def _events(bundle: Bundle, model: GenerativeModel) -> str:
    form = bundle.preprocessing
    if form is None:
        counts = f" of counts from 0 to {model.grid.num_levels - 1}" if model.grid else ""
        return f"vectors of {model.num_dims}{counts}"
    levels = f", {form.levels} grey levels" if model.grid else ""
    return f"{form.width} x {form.height} pixels{levels}"


def _binarisation(bundle: Bundle) -> list[str]:
    if bundle.preprocessing is None or bundle.preprocessing.levels != 2:
        return []
    return [
        "- Static binarisation of our own draw: a pixel is white with probability grey / 255, with "
        "noise that is a function of the image alone, so that train, test and uploads are "
        "binarised once and alike. Published figures on the Salakhutdinov and Murray draw follow "
        "the same law but are of other bits.",
    ]


def _likelihood_notes(bundle: Bundle, model: GenerativeModel) -> list[str]:
    if model.likelihood is Likelihood.UNNORMALISED:
        return []
    notes = ["Log likelihoods are means over the test split.", model.notes().likelihood]
    if "independent_values_nats" in bundle.metrics:
        notes += [
            "`independent_values_nats` needs no model: -log P if every value were independent, "
            "with histograms of the train split."
        ]
    if "inverse_error_float32_max" in bundle.metrics:
        notes += ["`inverse_error` compares f^-1(f(y)) with y at the shipped weights."]
    return [" ".join(note for note in notes if note), ""]


def _divergence_notes(bundle: Bundle) -> list[str]:
    if "reverse_kl_nats" not in bundle.metrics:
        return []
    return [
        "`reverse_kl` is KL(flow || target), a mean over samples of the flow, and `forward_kl` is "
        "KL(target || flow), by quadrature: the first hardly minds a mode that is left out, the "
        "second does. What training minimises is `reverse_kl_up_to_log_z`, which would be "
        "-`target_log_z` at best. `mass_in_the_box` is the integral of the flow's density where "
        "the target lies. The picture has the target at the left, the flow's density in the middle "
        "and its samples at the right.",
        "",
    ]


def _fid_notes(bundle: Bundle) -> list[str]:
    if not any(name.startswith("feature_fid_") for name in bundle.metrics):
        return []
    return [
        "`feature_fid_S_N` is the Frechet distance between N samples of sampler S and the whole "
        "test split, in the penultimate layer of a classifier that was trained on the train split "
        "(`judge_test_accuracy`); `feature_fid_train_N`, of N train images, is what a perfect "
        "sampler would get. It compares samplers of this model with each other, by the same seeds "
        "and labels; it is no FID of Inception features.",
        "",
    ]


def _shown(value: float) -> str:
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1e5 else f"{value:.3e}"
