"""Small networks that several families build on."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ConvNet(nn.Module):
    """Strided convolutions with SiLU, then one hidden layer: images to `num_outputs` numbers.

    No batch norm, since a normalised batch would let one row see another, and SiLU because a
    smooth energy makes Langevin steps stable (Grathwohl et al. 2020, arXiv:1912.03263, appendix).
    Shapes: (B, C, H, W) in [0, 1] -> (B, num_outputs).
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        channels: Sequence[int],
        strides: Sequence[int],
        hidden: int,
        num_outputs: int,
    ) -> None:
        super().__init__()
        num_in, height, width = event_shape
        layers: list[nn.Module] = []
        for i, (num_out, stride) in enumerate(zip(channels, strides, strict=True)):
            kernel = 5 if i == 0 else 3
            layers += [nn.Conv2d(num_in, num_out, kernel, stride, kernel // 2), nn.SiLU()]
            num_in, height, width = num_out, -(-height // stride), -(-width // stride)
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Sequential(
            nn.Linear(num_in * height * width, hidden), nn.SiLU(), nn.Linear(hidden, num_outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(self.hidden(x))

    def hidden(self, x: Tensor) -> Tensor:
        """What the last layer sees. Shapes: (B, C, H, W) in [0, 1] -> (B, hidden)."""
        seen: Tensor = self.head[:-1](self.features(2 * x - 1))
        return seen

    def outputs(self, hidden: Tensor) -> Tensor:
        """The last layer. Shapes: (B, hidden) -> (B, num_outputs)."""
        outputs: Tensor = self.head[-1](hidden)
        return outputs


def class_mask(label: Tensor, num_classes: int) -> Tensor:
    """0 where a class is allowed and -1e9 elsewhere; label -1 allows all.

    logsumexp(logits + mask) is then logits[label], or the logsumexp over all classes.
    Shapes: label (B,) int64 -> (B, num_classes) float32.
    """
    classes = torch.arange(num_classes, device=label.device)
    allowed = (label[:, None] < 0) | (label[:, None] == classes)
    return torch.where(allowed, 0.0, -1e9)
