"""The forward operator on tensors, differentiable; agrees with the NumPy one to float32 rounding.

For losses, unfolding networks and variational solvers. Loads torch, so import it only where needed.
Images are (batch, band, y, x); the tensors' device and dtype are kept.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d

from xrs.errors import ParameterError
from xrs.kernels.types import Float64
from xrs.sensors.forward import ForwardOperator

__all__ = ["TorchForward", "apply_response", "decimate", "decimate_adjoint"]


def apply_response(spectra: Tensor, response: Tensor) -> Tensor:
    """Bands of a scene (batch, wavelength, y, x) by weights (band, wavelength)."""
    return torch.einsum("bw,nwyx->nbyx", response.to(spectra), spectra)


def decimate(fine: Tensor, taps: Tensor, ratio: int) -> Tensor:
    """Blur with separable taps (tap,) or (band, tap) and keep one value for each block of pixels.

    Edges mirror (half-sample symmetric), as in :func:`xrs.kernels.decimate`. Differentiable in both
    the image and the taps.

    Returns
    -------
    Tensor (batch, band, y / ratio, x / ratio)
    """
    kernel = _widened(taps, fine, ratio)
    rows = _mirrored(fine, kernel.shape[1], ratio, 2)
    rows = conv2d(rows, kernel[:, None, :, None], stride=(ratio, 1), groups=fine.shape[1])
    columns = _mirrored(rows, kernel.shape[1], ratio, 3)
    return conv2d(columns, kernel[:, None, None, :], stride=(1, ratio), groups=fine.shape[1])


def decimate_adjoint(coarse: Tensor, taps: Tensor, ratio: int) -> Tensor:
    """The transpose of :func:`decimate`: ``<decimate(u), v> == <u, decimate_adjoint(v)>``."""
    kernel = _widened(taps, coarse, ratio)
    bands = coarse.shape[1]
    columns = conv_transpose2d(coarse, kernel[:, None, None, :], stride=(1, ratio), groups=bands)
    columns = _folded(columns, kernel.shape[1], ratio, 3)
    rows = conv_transpose2d(columns, kernel[:, None, :, None], stride=(ratio, 1), groups=bands)
    return _folded(rows, kernel.shape[1], ratio, 2)


class TorchForward(torch.nn.Module):
    """A :class:`~xrs.sensors.forward.ForwardOperator` on tensors (time, band, y, x).

    Examples
    --------
    >>> from xrs.sensors import forward_operator
    >>> layer = TorchForward(forward_operator("sentinel-2a", 2, bands=["B05", "B11"]))
    >>> layer(torch.ones(1, 2, 8, 8)).shape
    torch.Size([1, 2, 4, 4])
    """

    taps: Tensor
    response: Tensor | None
    times: Tensor | None

    def __init__(self, operator: ForwardOperator) -> None:
        super().__init__()
        self.ratio = operator.ratio
        self.n_times = operator.n_times
        self.register_buffer("taps", _tensor(operator.taps))
        self.register_buffer("response", None if operator.response is None else _tensor(operator.response))
        self.register_buffer("times", None if operator.times is None else torch.as_tensor(operator.times))

    def forward(self, scene: Tensor) -> Tensor:
        """The observation of a scene."""
        seen = scene if self.times is None else scene.index_select(0, self.times)
        if self.response is not None:
            seen = apply_response(seen, self.response)
        return decimate(seen, self.taps, self.ratio)

    def adjoint(self, observation: Tensor) -> Tensor:
        """The transpose of :meth:`forward`."""
        spread = decimate_adjoint(observation, self.taps, self.ratio)
        if self.response is not None:
            spread = apply_response(spread, self.response.T)
        if self.times is None:
            return spread
        if self.n_times is None:
            raise ParameterError("the operator does not know the scene's number of dates", "n_times beside times")
        return spread.new_zeros(self.n_times, *spread.shape[1:]).index_copy(0, self.times, spread)


def _tensor(values: Float64) -> Tensor:
    return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32)


def _widened(taps: Tensor, image: Tensor, ratio: int) -> Tensor:
    """Taps of every band, at least as many as a block has pixels."""
    kernel = taps.reshape(-1, taps.shape[-1]).to(image).expand(image.shape[1], -1)
    short = max(ratio - kernel.shape[1], 0) // 2
    return torch.nn.functional.pad(kernel, (short, short))


def _mirror_index(size: int, taps: int, ratio: int, device: torch.device) -> Tensor:
    margin = (taps - ratio) // 2
    # As a tensor: ONNX has no remainder by a size that is known only when the program runs.
    period = torch.full((), 2 * size, device=device)
    index = torch.arange(-margin, size + margin, device=device) % period
    return torch.minimum(index, 2 * size - 1 - index)


def _mirrored(image: Tensor, taps: int, ratio: int, dim: int) -> Tensor:
    index = _mirror_index(image.shape[dim], taps, ratio, image.device)
    return image.index_select(dim, index)


def _folded(image: Tensor, taps: int, ratio: int, dim: int) -> Tensor:
    """The transpose of :func:`_mirrored`."""
    size = image.shape[dim] - (taps - ratio)
    index = _mirror_index(size, taps, ratio, image.device)
    shape = list(image.shape)
    shape[dim] = size
    return image.new_zeros(shape).index_add(dim, index, image)
