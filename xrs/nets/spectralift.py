"""SpectraLift: the spectrum of a pixel from its few bands, by a small perceptron.

::

    x      = relu(conv 1 x 1) to 128 features   3 times
    result = conv 1 x 1 of x

After Shah and Duarte 2025 (arXiv:2507.13339), of whose text only the abstract was used: a perceptron of single pixels,
trained to lead from what the response of the multispectral sensor makes of a hyperspectral image back to that image.
The numbers are ours, and so is the start, at which the last layer is the linear regression.
"""

from __future__ import annotations

from xrs.nets._spectral import SpectralChain
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["NETWORK", "SpectraLift"]


class SpectraLift(SpectralChain):
    """Bands of one sensor from those of another, pixel by pixel.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of the one image, see :meth:`xrs.nets.base.Network.build`.
    outputs : int
        Bands of the result.
    features, layers : int
        Of the hidden layers.
    seed : int
        Of the weights.

    Examples
    --------
    >>> import torch
    >>> network = SpectraLift((4,), (1,), outputs=60)
    >>> network(torch.zeros(1, 4, 10, 12)).shape
    torch.Size([1, 60, 10, 12])
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        outputs: int,
        features: int = 128,
        layers: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__(bands[0], outputs, features=features, layers=layers, size=1, seed=seed)


NETWORK = Network(
    name="spectralift",
    module=SpectraLift,
    tasks=("spectral",),
    summary="Hyperspectral bands from multispectral ones: a perceptron of single pixels.",
    reference=Reference(
        "Shah and Duarte 2025, SpectraLift: physics-guided spectral-inversion network for self-supervised "
        "hyperspectral image super-resolution, arXiv:2507.13339"
    ),
    config={"features": 128, "layers": 3},
    images=1,
    differs="After the abstract alone: numbers of layers and features are ours, and so is the start of the last layer "
    "as the linear regression.",
)
