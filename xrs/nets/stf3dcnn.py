"""STF3DCNN: coarse changes from date to date become fine ones by convolutions over time and space.

The images are those of K pairs, in the order of time and half of them (of one pair, that one) before the date to be
predicted, and the coarse image of that date. With ``up`` the interpolation to the fine grid, and the series of coarse
images C that has the date to be predicted in its place::

    change[t] = up(C[t + 1]) - up(C[t])             K changes, for each band by itself
    fine      = change + conv(relu(...relu(conv(change))))
                                                    3 x 3 x 3 over (time, y, x): 1 -> F, some F -> F, F -> 1
    earlier   = F[before] + fine[into the date]
    later     = F[after] - fine[out of the date]
    result    = (b earlier + a later) / (a + b)     a, b = |change| into and out of the date

Beyond the first and the last change zeros follow. All bands have the same weights.

Peng, Zhang, Sun, Cen and Zhao 2020, 10.3390/rs12233888
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from xrs.nets._blocks import conv, he_uniform
from xrs.nets._pairs import by_date, check_pairs
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["NETWORK", "STF3DCNN", "SeriesConv"]

#: Added to the changes in weights, as a share of the values' mean: without any change both predictions count the same.
_LEAST_CHANGE = 1e-3


class SeriesConv(nn.Module):
    """A 3 x 3 x 3 convolution over (time, y, x) of series whose dates lie one after another along the bands.

    The same as ``torch.nn.Conv3d`` with a padding of 1; as one convolution of images it is quicker for the few dates
    there are, and its margin can be cut.

    Parameters
    ----------
    inputs, outputs : int
        Features of each date.

    Examples
    --------
    >>> SeriesConv(2, 3)(torch.zeros(1, 4 * 2, 5, 6)).shape  # of four dates
    torch.Size([1, 12, 5, 6])
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs = inputs
        #: Holds the weights: for each feature of a date all of those of the date before, of the date, of that after.
        self.taps = conv(3 * inputs, outputs)

    def forward(self, series: Tensor) -> Tensor:
        """Features (N, date * output, y, x) of those (N, date * input, y, x)."""
        dates = range(series.shape[1] // self.inputs)
        weight = torch.cat([torch.cat([self._from(other - date) for other in dates], dim=1) for date in dates])
        return conv2d(series, weight, self.taps.get_parameter("bias").repeat(len(dates)), padding=1)

    def part(self) -> None:
        """Start with dates that know nothing of each other: what no training shows must not enter a result."""
        with torch.no_grad():
            alone = self._from(0) * 3**0.5  # a third of the weights are left
            self.taps.weight.zero_()
            self._from(0).copy_(alone)

    def _from(self, distance: int) -> Tensor:
        """The weights of a date so many after this one."""
        weight = self.taps.weight
        if abs(distance) > 1:
            return weight.new_zeros(weight.shape[0], self.inputs, 3, 3)
        return weight[:, (distance + 1) * self.inputs : (distance + 2) * self.inputs]


class STF3DCNN(nn.Module):
    """STF3DCNN for any bands, ratios and number of pairs; weights trained with some pairs or bands serve others too.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of the fine images of one pair or of an even number, of as many coarse ones, and of the coarse one to predict
        from.
    features, layers : int
        Features of hidden layers, and how many convolutions there are between the first and the last.
    seed : int
        Of the weights (He-uniform, those of neighbouring dates and biases zero).

    Examples
    --------
    >>> network = STF3DCNN((2, 2, 2, 2, 2), (1, 1, 4, 4, 4), features=8, layers=1)
    >>> fine, coarse = torch.zeros(1, 2, 8, 12), torch.zeros(1, 2, 2, 3)
    >>> network(fine, fine, coarse, coarse, coarse).shape
    torch.Size([1, 2, 8, 12])
    """

    #: No band looks at another, and all have the same weights.
    bandwise = True

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        features: int = 64,
        layers: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_pairs("stf3dcnn", bands, ratios)
        self.ratio = ratios[-1]
        widths = [1, *[features] * (layers + 1), 1]
        chain = [SeriesConv(inputs, outputs) for inputs, outputs in pairwise(widths)]
        self.layers = nn.ModuleList(chain)
        he_uniform(self, seed)
        for layer in chain:
            layer.part()

    def forward(self, *images: Tensor) -> Tensor:
        """The fine image (N, band, y, x) of the last coarse one's date."""
        fine, coarse, target = by_date(images, self.ratio, "bicubic")
        before = (len(fine) + 1) // 2
        changes = [after - first for first, after in pairwise([*coarse[:before], target, *coarse[before:]])]
        wanted = range(before - 1, min(before + 1, len(fine)))
        found = self._fine_changes(changes, wanted)
        earlier = fine[before - 1] + found[0]
        if len(fine) == 1:
            return earlier
        later = fine[before] - found[1]
        into, out = (changes[date].abs() + _LEAST_CHANGE for date in wanted)
        return (out * earlier + into * later) / (into + out)

    def _fine_changes(self, changes: Sequence[Tensor], wanted: Sequence[int]) -> list[Tensor]:
        """The fine changes, of those wanted, each (N, band, y, x)."""
        bands = range(changes[0].shape[1])
        # Band by band: the layers of all at once would need much memory.
        series = [self._chain(torch.cat([change[:, b : b + 1] for change in changes], dim=1)) for b in bands]
        return [torch.cat([band[:, date : date + 1] for band in series], dim=1) for date in wanted]

    def _chain(self, series: Tensor) -> Tensor:
        *hidden, last = self.layers
        x = series
        for layer in hidden:
            x = torch.relu(layer(x))
        return series + last(x)


NETWORK = Network(
    name="stf3dcnn",
    module=STF3DCNN,
    tasks=("spatiotemporal",),
    summary="Convolutions over time and space turn coarse changes into fine ones; two predictions blended.",
    reference=Reference(
        "Peng, Zhang, Sun, Cen and Zhao 2020, A fast three-dimensional convolutional neural network-based "
        "spatiotemporal fusion method (STF3DCNN) using a spatial-temporal-spectral dataset, Remote Sensing 12(23):3888",
        "10.3390/rs12233888",
    ),
    config={"features": 64, "layers": 3},
    differs="After the paper; ours are 64 features, five layers that learn what fine changes are beyond coarse ones, "
    "interpolation by cubic convolution, weights of each pixel and band by its own coarse change, and the loss of the "
    "blended prediction.",
)
