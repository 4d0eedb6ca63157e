"""What networks share that look at the whole of an image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

__all__ = ["MirroredConv", "SpectralAttention", "mirrored", "start_as_torch"]

#: Below it a channel's length counts as this, so that an empty one gives no NaN.
_LEAST_NORM = 1e-12


class SpectralAttention(nn.Module):
    """Attention between channels: each becomes a mixture of the others, by how alike they are along the whole image.

    ::

        q, k, v = linear maps of each pixel, in heads
        A       = softmax(temperature * cosine(k_i, q_j)) over j        (channel, channel) in each head
        result  = linear map, with biases, of A v

    Parameters
    ----------
    features, heads : int
        The channels of each head attend to each other; ``heads`` divides ``features``.
    positional : bool
        Whether depthwise convolutions of ``v`` are added (3 x 3, GELU, 3 x 3).

    References
    ----------
    Cai et al. 2022, MST++, 10.1109/CVPRW56347.2022.00090
    """

    def __init__(self, features: int, heads: int, *, positional: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(features, features, bias=False)
        self.key = nn.Linear(features, features, bias=False)
        self.value = nn.Linear(features, features, bias=False)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.join = nn.Linear(features, features)
        self.position = _depthwise_pair(features) if positional else None

    def forward(self, x: Tensor) -> Tensor:
        """What is to be added to the image (N, features, y, x)."""
        pixels = x.movedim(1, -1)
        tokens = pixels.flatten(1, 2)
        value = self.value(tokens)
        mixed = torch.baddbmm(self.join.bias.to(value.dtype), value, self._mixture(tokens).transpose(1, 2))
        result = mixed.reshape(pixels.shape).movedim(-1, 1)
        if self.position is None:
            return result
        return result + self.position(value.reshape(pixels.shape).movedim(-1, 1))

    def _mixture(self, tokens: Tensor) -> Tensor:
        """The matrix (N, features, features) that leads from values to the result."""
        query, key = (
            layer(tokens).reshape(*tokens.shape[:2], self.heads, -1).permute(0, 2, 3, 1)
            for layer in (self.query, self.key)
        )
        query = query.transpose(2, 3)
        alike = (key @ query) / _length(key, -1) / _length(query, -2)
        weights = torch.softmax(alike * self.temperature, dim=-1)
        # The heads' attention and the layer that joins them are one map of the values.
        joined = self.join.weight.reshape(len(self.join.weight), self.heads, -1).transpose(0, 1)
        return (joined @ weights).transpose(1, 2).flatten(2)


def _length(channels: Tensor, axis: int) -> Tensor:
    # Many squares are summed: never in half precision.
    precise = torch.promote_types(channels.dtype, torch.float32)
    return torch.linalg.vector_norm(channels, dim=axis, keepdim=True, dtype=precise).clamp_min(_LEAST_NORM)


def _depthwise_pair(features: int) -> nn.Sequential:
    first, second = (nn.Conv2d(features, features, 3, padding=1, groups=features, bias=False) for _ in range(2))
    return nn.Sequential(first, nn.GELU(), second)


class MirroredConv(nn.Conv2d):
    """A convolution without biases that keeps the size: the image is mirrored beyond its edges."""

    def __init__(self, inputs: int, outputs: int, size: int = 3) -> None:
        super().__init__(inputs, outputs, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The result (N, outputs, y, x)."""
        around = self.kernel_size[0] // 2
        return super().forward(mirrored(x, around, around))


def mirrored(image: Tensor, before: int, *after: int) -> Tensor:
    """Widen an image (N, band, y, x), mirrored about the centres of its outermost pixels.

    Parameters
    ----------
    image : Tensor
    before : int
        Rows above and columns to the left.
    *after : int
        Rows below and columns to the right; one number for both. May be more than the image has: it is mirrored
        again and again.
    """
    below, right = after if len(after) > 1 else 2 * after
    rows, columns = image.shape[2:]
    # What exporters trace must not depend on the size.
    if not torch.compiler.is_compiling() and max(before, below) < rows and max(before, right) < columns:
        return pad(image, (before, right, before, below), mode="reflect")
    along_y, along_x = (_reflections(n, before, end, image.device) for n, end in ((rows, below), (columns, right)))
    return image[:, :, along_y[:, None], along_x]


def _reflections(size: int, before: int, after: int, device: torch.device) -> Tensor:
    period = max(2 * size - 2, 1)
    turned = torch.arange(-before, size + after, device=device) % period
    return torch.minimum(turned, period - turned)


def start_as_torch(module: nn.Module, seed: int) -> None:
    """Draw all weights as torch's layers do by default; the same seed gives the same ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in module.modules():
            reset: Any = getattr(layer, "reset_parameters", None)
            if reset is not None:
                reset()
