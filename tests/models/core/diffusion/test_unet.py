"""The network of diffusion models: what it sees, and what it must not."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.diffusion.unet import Attention, UNet
from tests.support.models.invertible import seeded

SETTINGS: dict[str, Any] = {
    "event_shape": (1, 8, 8),
    "channels": (8, 16),
    "num_blocks": 2,
    "attention_levels": (1,),
    "patch": 2,
    "embedding": 8,
    "num_classes": 3,
    "num_train_steps": 20,
}


def net_of(**changes: Any) -> UNet:
    """With noise on its weights, in float64."""
    with seeded(), torch.no_grad():
        net = UNet(**{**SETTINGS, **changes}).double()
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return net.requires_grad_(False)


def draws(num: int, shape: tuple[int, ...]) -> Tensor:
    with seeded():
        return torch.randn(num, *shape, dtype=torch.float64)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"event_shape": (3, 8, 12), "patch": 1},
        {"channels": (8,), "num_blocks": 1, "attention_levels": (0,)},
        {"channels": (8, 16, 24), "event_shape": (1, 16, 8), "attention_levels": ()},
        {"num_classes": 0},
    ],
)
def test_noise_has_the_shape_of_images_and_starts_at_zero(changes: dict[str, Any]) -> None:
    shape = {**SETTINGS, **changes}["event_shape"]
    t, label = torch.tensor([1.0, 20.0]), torch.tensor([-1, -1])
    with seeded():
        fresh = UNet(**{**SETTINGS, **changes})
    eps = fresh(draws(2, shape).float(), t, label)
    assert eps.shape == (2, *shape)
    assert not eps.any()
    assert net_of(**changes)(draws(2, shape), t, label).std() > 0.01


def test_a_row_is_alone() -> None:
    net, z = net_of(), draws(3, (1, 8, 8))
    t, label = torch.tensor([1.0, 7.0, 20.0]), torch.tensor([-1, 0, 2])
    together = net(z, t, label)
    for i in range(3):
        rows = slice(i, i + 1)
        torch.testing.assert_close(together[rows], net(z[rows], t[rows], label[rows]))


def test_time_and_class_are_seen() -> None:
    net, z = net_of(), draws(1, (1, 8, 8)).expand(6, 1, 8, 8)
    t = torch.tensor([1.0, 2.0, 20.0, 1.0, 1.0, 1.0])
    label = torch.tensor([-1, -1, -1, 0, 1, 2])
    found = net(z, t, label).flatten(1)
    apart = (found[:, None] - found[None]).abs().amax(2)
    assert float(apart[~torch.eye(6, dtype=torch.bool)].min()) > 1e-3


def test_times_are_told_apart_as_if_there_were_a_thousand() -> None:
    waves = net_of()._waves(torch.tensor([10.0], dtype=torch.float64))
    of_a_thousand = net_of(num_train_steps=1000)._waves(torch.tensor([500.0], dtype=torch.float64))
    torch.testing.assert_close(waves, of_a_thousand)
    rates = torch.tensor([1.0, 0.1, 0.01, 0.001], dtype=torch.float64)
    torch.testing.assert_close(waves[0, :4], (500 * rates).sin())


def test_every_weight_is_used_and_every_pixel_seen() -> None:
    net, z = net_of().requires_grad_(True), draws(4, (1, 8, 8)).requires_grad_(True)
    eps = net(z, torch.tensor([1.0, 5.0, 10.0, 20.0]), torch.tensor([-1, 0, 1, 2]))
    eps[:, 0, 0, 0].square().sum().backward()
    assert z.grad is not None
    assert bool((z.grad.abs().flatten(2).amax(1) > 0).all())
    eps = net(z, torch.tensor([1.0, 5.0, 10.0, 20.0]), torch.tensor([-1, 0, 1, 2]))
    eps.square().sum().backward()
    unused = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused == []


def test_attention_is_that_of_torch() -> None:
    with seeded():
        part = Attention(8).double()
        torch.nn.init.normal_(part.exit.weight)
    h = draws(2, (8, 3, 5))
    query, key, value = (
        found.view(2, 2, 4, 15).transpose(-1, -2) for found in part.entry(part.norm(h)).chunk(3, 1)
    )
    seen = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    expected = h + part.exit(seen.transpose(-1, -2).reshape(2, 8, 3, 5))
    torch.testing.assert_close(part(h), expected)


@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ({"event_shape": (1, 10, 8)}, "multiples of 4 pixels"),
        ({"channels": (8, 12)}, "multiples of 8"),
        ({"embedding": 7}, "even numbers"),
    ],
)
def test_what_does_not_divide_is_refused(changes: dict[str, Any], accepted: str) -> None:
    with pytest.raises(ValueError, match=accepted):
        UNet(**{**SETTINGS, **changes})
