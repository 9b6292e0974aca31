"""Scores of a log likelihood: itself, its distance from the usual, two ratios, and one of codes."""

import math

from models.core.ood.score import Score

_LN2 = math.log(2)

LIKELIHOOD_SCORES: dict[str, Score] = {
    "nll": Score(
        "log_likelihood",
        ("log_prob",),
        "nats",
        "Minus the log likelihood (or its bound). Flows and autoregressive models can find other "
        "data likelier than their own (Nalisnick et al. 2019, arXiv:1810.09136).",
        lambda rows, _: -rows["log_prob"],
    ),
    "typicality": Score(
        "log_likelihood",
        ("log_prob",),
        "nats",
        "Distance of the log likelihood from its median on validation data, so that events that "
        "are too likely count as strange as well (Nalisnick et al. 2019, arXiv:1906.02994).",
        lambda rows, reference: (rows["log_prob"] - reference).abs(),
    ),
    "ic": Score(
        "input_complexity",
        ("log_prob", "code_bits"),
        "bits",
        "Minus log2 of the probability, less the bits of a code that knows nothing of the data, "
        "both of the whole image: simple images are likely to any model (Serra et al. 2020, "
        "arXiv:1909.11480).",
        lambda rows, _: -rows["log_prob"] / _LN2 - rows["code_bits"],
    ),
    "scale_ratio": Score(
        "input_complexity",
        ("code_bits", "half_code_bits"),
        "ratio",
        "Bits of the image's code at half its height and width, over those at full size: the finer "
        "half of an image that is blurred or enlarged says nothing new (after the complexity of "
        "Serra et al. 2020, arXiv:1909.11480, at two scales).",
        lambda rows, _: rows["half_code_bits"] / rows["code_bits"],
    ),
    "llr_local": Score(
        "log_likelihood",
        ("log_prob",),
        "bits",
        "How much likelier pixels are to a model of texture than to one of whole images: a "
        "likelihood ratio in which what both know cancels (Zhang et al. 2021, "
        '"On the out-of-distribution generalization of probabilistic image modelling").',
        lambda rows, _: (rows["background_log_prob"] - rows["log_prob"]) / _LN2,
        needs_background=True,
    ),
}
