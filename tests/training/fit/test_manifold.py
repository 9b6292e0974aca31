"""The autoencoder of recovery training: on the sphere, in the box, fitted once and then frozen."""

import pytest
import torch

from tests.support.training.tiny import blobs
from training.data.batches import Batches
from training.data.splits import as_events
from training.fit.manifold import Manifold, fitted, on_sphere


def new_manifold(seed: int = 0, event_shape: tuple[int, ...] = (1, 8, 8)) -> Manifold:
    """An unfitted one of four latents."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Manifold(event_shape, 4, hidden=16)


def error(manifold: Manifold, seed: int = 9) -> float:
    """Mean squared error on blobs that were not fitted."""
    x = as_events(blobs(100, seed=seed).x)
    with torch.no_grad():
        return float((manifold.decode(manifold.encode(x)) - x).square().mean())


@pytest.mark.parametrize("event_shape", [(1, 8, 8), (3, 9, 14), (1, 5, 3)])
def test_images_of_any_size_become_unit_vectors_and_images_again(
    event_shape: tuple[int, ...],
) -> None:
    manifold = new_manifold(event_shape=event_shape)
    z = manifold.encode(torch.rand(6, *event_shape))
    assert z.shape == (6, 4)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(6))
    x = manifold.decode(z).detach()
    assert x.shape == (6, *event_shape)
    assert 0 <= float(x.min()) <= float(x.max()) <= 1


def test_the_nearest_point_of_the_sphere_keeps_the_direction() -> None:
    torch.testing.assert_close(on_sphere(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.6, 0.8]]))


def test_a_fit_beats_the_mean_image_on_images_it_has_not_seen() -> None:
    train = blobs(400)
    manifold = fitted(new_manifold(), Batches(train, 64, 0), 150, rate=5e-3)
    x, held_out = as_events(train.x), as_events(blobs(100, seed=9).x)
    assert error(manifold) < 0.2 * float((held_out - x.mean(0)).square().mean())


def test_a_fitted_manifold_is_frozen_and_still_passes_gradients_on() -> None:
    manifold = fitted(new_manifold(), Batches(blobs(64), 16, 0), 2)
    assert not manifold.training
    assert not any(p.requires_grad for p in manifold.parameters())
    z = on_sphere(torch.ones(2, 4)).requires_grad_()
    (grad,) = torch.autograd.grad(manifold.decode(z).sum(), z)
    assert float(grad.abs().max()) > 0


def test_a_fit_is_the_same_under_half_precision_and_without_gradients() -> None:
    def weights() -> torch.Tensor:
        manifold = fitted(new_manifold(), Batches(blobs(64), 16, 0), 3)
        return torch.cat([p.flatten() for p in manifold.parameters()])

    plain = weights()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(weights(), plain)
