"""Gaussian starts fitted to the training images, and small shifts of images."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.training.tiny import blobs, new_model
from training.data.batches import Batches, random
from training.data.splits import Split
from training.fit.starts import fit_starts, shifted


def images(split: Split, label: int) -> Tensor:
    """Flat events of one class. -> (N, D)."""
    return torch.from_numpy(split.x[split.y == label]).flatten(1).float() / 255


def test_the_start_of_a_class_has_its_mean_and_leading_directions() -> None:
    split, model = blobs(200), new_model("jem", start_rank=3)
    fit_starts(model, Batches(split, 16, seed=0))
    for label in (0, 1):
        x = images(split, label)
        torch.testing.assert_close(model.start_mean[label], x.mean(0))
        covariance = x.T.cov()
        values, directions = torch.linalg.eigh(covariance)
        leading = directions[:, -3:] * values[-3:] @ directions[:, -3:].T
        factor = model.start_factor[label]
        torch.testing.assert_close(factor.T @ factor, leading, atol=1e-5, rtol=1e-3)
        rest = (covariance - leading).diag().clamp(min=0)
        torch.testing.assert_close(model.start_std[label], 0.2 * rest.sqrt(), atol=1e-4, rtol=1e-2)


def test_without_labels_there_is_one_start_for_all() -> None:
    split, model = blobs(100), new_model("ebm")
    fit_starts(model, Batches(split, 16, seed=0))
    assert model.start_mean.shape == (1, 64)
    expected = torch.from_numpy(split.x).flatten(1).float().mean(0) / 255
    torch.testing.assert_close(model.start_mean[0], expected)


@pytest.mark.parametrize("num_of_class_1", [0, 1, 2])
def test_a_class_of_few_images_has_a_start_too(num_of_class_1: int) -> None:
    split = blobs(40)
    keep = np.concatenate([np.flatnonzero(split.y == 0), np.flatnonzero(split.y)[:num_of_class_1]])
    model = new_model("jem", start_rank=4)
    fit_starts(model, Batches(Split(split.x[keep], split.y[keep]), 16, seed=0))
    for buffer in (model.start_mean, model.start_factor, model.start_std):
        assert bool(buffer.isfinite().all())


PICTURE = torch.arange(9.0).view(1, 1, 3, 3)


def test_a_shift_moves_the_picture_and_repeats_its_edge() -> None:
    seen = {tuple(shifted(PICTURE, 1, random(0, i, 0)).flatten().tolist()) for i in range(200)}
    rows = {-1: [0, 0, 1], 0: [0, 1, 2], 1: [1, 2, 2]}  # where each row or column comes from
    expected = {
        tuple(PICTURE[0, 0][rows[down]][:, rows[right]].flatten().tolist())
        for down in rows
        for right in rows
    }
    assert seen == expected


def test_each_image_of_a_batch_is_shifted_on_its_own_and_its_channels_together() -> None:
    x = PICTURE.expand(50, 2, 3, 3) + torch.tensor([0.0, 100.0]).view(1, 2, 1, 1)
    found = shifted(x, 1, random(1, 1, 1))
    assert found.shape == x.shape
    assert torch.equal(found[:, 1], found[:, 0] + 100)
    assert len({tuple(image.flatten().tolist()) for image in found}) == 9


def test_no_shift_is_no_change() -> None:
    assert torch.equal(shifted(PICTURE, 0, random(0, 0, 0)), PICTURE)
