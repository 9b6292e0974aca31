"""The classifier of a screen on Fraktur glyphs."""

from dataclasses import replace

from training.recipes import jem_fashion_mnist_classifier, jem_fraktur_glyphs

_JEM = jem_fraktur_glyphs.RECIPE
_CLASSIFIER = jem_fashion_mnist_classifier.RECIPE

RECIPE = replace(
    _JEM,
    config=replace(_JEM.config, num_chains=42, start_rank=1),
    objective_settings={
        **_CLASSIFIER.objective_settings,
        "classifier_steps": 3000,
        "max_shift": 2,
        "buffer_size": 42,
    },
    adam_betas=_CLASSIFIER.adam_betas,
    weight_decay=_CLASSIFIER.weight_decay,
)
