"""The gated PixelCNN network: for each pixel, numbers that depend on earlier pixels only.

Van den Oord et al. 2016, "Conditional image generation with PixelCNN decoders", arXiv:1606.05328.
The vertical stack v sees all rows above, the horizontal stack h the pixels to the left and, by a
link, v: together every earlier pixel in reach, without a blind spot. Kernels are cropped to the
taps that are allowed, so no weight is masked, and no work is spent on zeros.

Features are (B, H, W, C) with the channels last: what mixes channels is then the same linear map
for a whole image and, in a sampler, for a single pixel. Both stacks see whole pixels, all colours
of them; only the head goes through the colours of the pixel itself in turn.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, pad, relu


def gate(a: Tensor) -> Tensor:
    """2 tanh(f) sigmoid(2 g) of the halves f, g: the paper's unit up to scales of the weights.

    Since 2 sigmoid(2 g) = 1 + tanh(g), one tanh does for both. Shapes: (..., 2 C) -> (..., C).
    """
    a, size = a.tanh(), a.shape[-1] // 2
    # A chunk has the cheaper gradient, but exports to sequences, which ONNX Runtime takes apart.
    f, g = a.chunk(2, -1) if a.requires_grad else (a[..., :size], a[..., size:])
    return torch.addcmul(f, f, g)


class Gate(nn.Module):
    """`gate` as a module, so that a copy of the network can have another one."""

    def forward(self, a: Tensor) -> Tensor:
        """Shapes: (..., 2 C) -> (..., C)."""
        return gate(a)


class CausalInput(nn.Module):
    """Pixels to features: v of the rows above, h of the pixels to the left, never the pixel itself.

    A pixel is its K colours. Both stacks also get what the pixels are conditioned on: the label,
    and where in the image they are.
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self,
        shape: tuple[int, int],
        num_colours: int,
        channels: int,
        kernel_size: int,
        num_classes: int,
        coordinates: bool,
        place_tables: bool = False,
    ) -> None:
        super().__init__()
        self.reach = kernel_size // 2
        self.above = nn.Conv2d(num_colours, channels, (self.reach, 2 * self.reach + 1))
        self.left = nn.Linear(num_colours * self.reach, channels)
        self.label = nn.Embedding(num_classes + 1, 2 * channels) if num_classes else None
        self.place = nn.Linear(2, 2 * channels, bias=False) if coordinates else None
        sizes = shape if place_tables else ()
        self.tables = nn.ModuleList(nn.Embedding(size, 2 * channels) for size in sizes)
        # Two short vectors: an export keeps them as they are, and would halve one of all places.
        for name, size in zip(("rows", "columns"), shape, strict=True):
            self.register_buffer(name, torch.linspace(-1, 1, size), persistent=False)

    def forward(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes: x (B, K, H, W) in [-1, 1], label (B,) -> v and h, both (B, H, W, C)."""
        reach, width = self.reach, x.shape[3]
        v = self.vertical(pad(x[:, :, :-1], (reach, reach, reach, 0)))
        before = pad(x[..., :-1], (reach, 0)).movedim(1, 2)
        taps = [before[..., t : t + width] for t in range(reach)]
        h = self.horizontal(torch.stack(taps, 3).movedim(4, 2))
        row = torch.arange(x.shape[2], device=x.device)[:, None]
        column = torch.arange(width, device=x.device)
        of_v, of_h = self.conditions(label[:, None, None], row, column)
        return v + of_v, h + of_h

    def vertical(self, rows: Tensor) -> Tensor:
        """v before conditions, from rows above, padded to both sides.

        Shapes: (B, K, H - 1 + reach, W + 2 reach) -> (B, H, W, C).
        """
        return self.above(rows).movedim(1, -1)

    def horizontal(self, before: Tensor) -> Tensor:
        """h before conditions, from the pixels to the left. Shapes: (..., K, reach) -> (..., C)."""
        return self.left(before.flatten(-2))

    def conditions(self, label: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """What the label and the place add to v and h.

        Shapes: int64 each, which broadcast to (...) -> 2 x (..., C).
        """
        total = self.rows.new_zeros(2 * self.left.out_features)
        if self.label is not None:
            total = self.label(label + 1)
        if self.place is not None:
            places = torch.broadcast_tensors(self.rows[row], self.columns[column])
            total = total + self.place(torch.stack(places, -1))
        for table, place in zip(self.tables, (row, column), strict=False):
            total = total + table(place)
        of_v, of_h = total.chunk(2, -1)
        return of_v, of_h


class GatedLayer(nn.Module):
    """One layer of both stacks, each a residual sum of gated units (figure 2 of the paper).

    The paper's vertical stack has no residual; here it carries label and place to every layer.
    Feature maps that the image is conditioned on enter before each gate (section 2.3).
    """

    def __init__(
        self, channels: int, kernel_size: int, dilation: int, dropout: float, num_features: int = 0
    ) -> None:
        super().__init__()
        self.dilation = dilation
        self.dropout = dropout
        self.num_taps = (kernel_size + 1) // 2
        """Rows of v and pixels of h that are read, the present one included."""
        self.above = nn.Conv2d(
            channels, 2 * channels, (self.num_taps, kernel_size), dilation=dilation
        )
        self.left = nn.Linear((self.num_taps + 1) * channels + num_features, 2 * channels)
        self.mix = nn.Linear(channels, channels)
        self.gate = Gate()
        self.given = nn.Linear(num_features, 2 * channels, bias=False) if num_features else None

    def forward(self, v: Tensor, h: Tensor, *features: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes: v and h (B, H, W, C), features (B, H, W, F) or none -> v and h."""
        width, past = h.shape[2], self.dilation * (self.num_taps - 1)
        v = v + self.vertical(pad(v, (0, 0, past, past, past, 0)), *features)
        before = pad(h, (0, 0, past, 0))
        taps = [before[:, :, t : t + width] for t in range(0, past, self.dilation)]
        return v, h + self.horizontal(torch.cat([*taps, h, v, *features], -1))

    def vertical(self, rows: Tensor, *features: Tensor) -> Tensor:
        """What v gains, from rows padded to all sides but below.

        Shapes: (B, H + past, W + 2 past, C), features (B, H, W, F) or none -> (B, H, W, C).
        """
        a = self.above(rows.movedim(-1, 1)).movedim(1, -1)
        return self.gate(a if self.given is None else a + self.given(*features))

    def horizontal(self, taps: Tensor) -> Tensor:
        """What h gains, from its taps, the leftmost first, v, and the features if there are any.

        Shapes: (..., (num_taps + 1) C + F) -> (..., C).
        """
        gated = self.gate(self.left(taps))
        return self.mix(dropout(gated, self.dropout) if self.training else gated)


class PixelNet(nn.Module):
    """Numbers of each pixel's distribution given the earlier pixels, in raster order.

    And given its own earlier colours, in the order of the channels: for red, green and blue
    p(R) p(G given R) p(B given R, G), all of them given the earlier pixels (section 2.2 of the
    paper). They enter the head's hidden units, of which each colour has its own, before the ReLU.

    Raises ValueError for sizes that make no network, and kernels that have no centre.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        num_params: int,
        *,
        channels: int,
        num_layers: int,
        kernel_size: int,
        input_kernel_size: int,
        dilations: tuple[int, ...],
        head_channels: int,
        dropout: float,
        num_classes: int,
        coordinates: bool,
        place_tables: bool = False,
        num_features: int = 0,
        num_colours: int = 1,
    ) -> None:
        """Layer i is dilated by `dilations[i % len(dilations)]`; of the feature maps that the
        image is conditioned on there are `num_features`."""
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers {num_layers}: accepted are 1 or more")
        for size in (kernel_size, input_kernel_size):
            if size < 3 or size % 2 == 0:
                raise ValueError(f"kernel size {size}: accepted are odd numbers from 3")
        if not dilations or min(dilations) < 1:
            raise ValueError(f"dilations {dilations}: accepted are one or more, each at least 1")
        self.num_features = num_features
        self.num_colours = num_colours
        self.input = CausalInput(
            shape,
            num_colours,
            channels,
            input_kernel_size,
            num_classes,
            coordinates,
            place_tables,
        )
        self.layers = nn.ModuleList(
            GatedLayer(channels, kernel_size, dilations[i % len(dilations)], dropout, num_features)
            for i in range(num_layers)
        )
        self.hidden = nn.Linear(channels, num_colours * head_channels)
        self.earlier = nn.ModuleList(
            nn.Linear(num, head_channels, bias=False) for num in range(1, num_colours)
        )
        self.out = nn.Linear(head_channels, num_params)

    def forward(self, x: Tensor, label: Tensor, *features: Tensor) -> Tensor:
        """Shapes: x (B, K, H, W) in [-1, 1], label (B,), -1 for none, features (B, H, W, F) if
        there are any -> (B, K, H, W, num_params)."""
        v, h = self.input(x, label)
        for layer in self.layers:
            v, h = layer(v, h, *features)
        return self.head(h, x.movedim(1, -1)).movedim(3, 1)

    @property
    def gated(self) -> list[GatedLayer]:
        """The layers from the input on."""
        return [layer for layer in self.layers if isinstance(layer, GatedLayer)]

    def head(self, h: Tensor, pixel: Tensor) -> Tensor:
        """Numbers of all colours; those of colour k depend on the pixel's first k only.

        Shapes: (..., C), (..., K) in [-1, 1] -> (..., K, num_params).
        """
        a = self.hidden(relu(h)).unflatten(-1, (self.num_colours, -1))
        if self.earlier:
            told = [part(pixel[..., : k + 1]) for k, part in enumerate(self.earlier)]
            a = a + torch.stack([torch.zeros_like(told[0]), *told], -2)
        return self.out(relu(a))
