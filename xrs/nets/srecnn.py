"""SRECNN: the bands of one sensor from those of another, by a plain chain of convolutions.

::

    x      = relu(conv 3 x 3) to 64 features
    x      = relu(conv 3 x 3)                   4 times
    result = conv 1 x 1 of x

After Peng et al. 2019 (IGARSS). Its layers are not open to us: that convolutions lead from multispectral to
hyperspectral bands is published; the numbers are ours, and so is the start, at which neighbours do not count and the
last layer is the linear regression.
"""

from __future__ import annotations

from xrs.nets._spectral import SpectralChain
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["NETWORK", "SRECNN"]


class SRECNN(SpectralChain):
    """Bands of one sensor from those of another, on the same grid.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of the one image, see :meth:`xrs.nets.base.Network.build`.
    outputs : int
        Bands of the result.
    features, layers : int
        Of the convolutions of 3 x 3 pixels.
    seed : int
        Of the weights.

    Examples
    --------
    >>> import torch
    >>> network = SRECNN((4,), (1,), outputs=60)
    >>> network(torch.zeros(1, 4, 10, 12)).shape
    torch.Size([1, 60, 10, 12])
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        outputs: int,
        features: int = 64,
        layers: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__(bands[0], outputs, features=features, layers=layers, size=3, seed=seed)


NETWORK = Network(
    name="srecnn",
    module=SRECNN,
    tasks=("spectral",),
    summary="Hyperspectral bands from multispectral ones: five convolutions of 3 by 3 pixels, then one of one.",
    reference=Reference("Peng et al. 2019, spectral resolution enhancement by a convolutional network, IGARSS 2019"),
    config={"features": 64, "layers": 5},
    images=1,
    differs="After the paper: its layers are not open to us, so their numbers and features are ours, and so is the "
    "start, at which neighbours do not count and the last layer is the linear regression.",
)
