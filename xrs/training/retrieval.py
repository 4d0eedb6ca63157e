"""The networks that retrieve variables of the canopy, trained on simulated canopies; made again by one command.

::

    python -m xrs.training.retrieval --output xrs/models/shipped

The canopies are those of :func:`xrs.spectra.draw_canopies`, seen by Sentinel-2A and 2B in turn, with the noise of Weiss
and Baret 2016 (ATBD of the S2ToolBox): 0.01 and 2 % that all bands of a pixel share, and as much again for each band by
itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xrs.cube.metadata import package_version
from xrs.kernels.types import Float32, Float64
from xrs.learning.conformal import conformal_factors, quantile_of
from xrs.learning.loop import Settings, Term, fit
from xrs.learning.patches import Patches
from xrs.methods.retrieval._variables import variable_of
from xrs.models import Card, ImageSpec, Model
from xrs.nets import get_network
from xrs.nets.canopy import Canopy, side_by_side
from xrs.sensors import get_sensor, spectral_response

__all__ = ["ANGLES", "BANDS", "VARIABLES", "Examples", "draw_examples", "main", "noisy", "scores", "train_canopy"]

#: Bands of each shipped network: those of 20 m and B03, B04, as the toolbox's processor; and with all of 10 m.
BANDS: Mapping[str, tuple[str, ...]] = {
    "s2-canopy-8": ("B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12"),
    "s2-canopy-10": ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
}

#: Cosines after the bands, and the parameter of the canopies each is of.
ANGLES = {
    "cos_view_zenith": "view_zenith",
    "cos_sun_zenith": "sun_zenith",
    "cos_relative_azimuth": "relative_azimuth",
}

#: Variables, and the parameter of the canopies each is.
VARIABLES = {"LAI": "lai", "FAPAR": "fapar", "FCOVER": "fcover", "CCC": "ccc", "CWC": "cwc", "CAB": "cab"}

_SENSORS = ("sentinel-2a", "sentinel-2b")

#: Canopies drawn at once.
_BLOCK = 5_000

#: Noise: absolute and relative, of a pixel and of a band.
_ABSOLUTE, _RELATIVE = 0.01, 0.02

#: What a pixel may lie outside of the bands' ranges in training, as Weiss and Baret 2016.
_TOLERANCE = 0.01

_LEVEL = 0.9

#: Side of the images that examples are put into, which convolutions are quicker with; images of one step.
_SIDE, _BATCH = 8, 16

#: Leaf area up to which most fields grow; of denser canopies one in so many is left out in training.
_USUAL_LAI, _DENSE = 6, 2


@dataclass(frozen=True)
class Examples:
    """What a network sees (example, band and angle), without noise, and what it is to tell (example, variable)."""

    seen: Float32
    wanted: Float32

    def possible(self) -> Examples:
        """Those whose variables all lie in their valid ranges."""
        highest = [variable_of(name).highest for name in VARIABLES]
        kept = (self.wanted <= highest).all(axis=1)
        return Examples(self.seen[kept], self.wanted[kept])

    def usual(self) -> Examples:
        """Without every second of those with a leaf area that few fields have: so dense, it can no longer be told."""
        dense = self.wanted[:, 0] > _USUAL_LAI
        kept = ~dense | (np.cumsum(dense) % _DENSE > 0)
        return Examples(self.seen[kept], self.wanted[kept])

    def of_bands(self, keys: Sequence[str]) -> Examples:
        """With these bands of the widest set, and the angles."""
        every = [*BANDS["s2-canopy-10"], *ANGLES]
        return Examples(self.seen[:, [every.index(key) for key in (*keys, *ANGLES)]], self.wanted)


def draw_examples(count: int, seed: int) -> Examples:
    """Simulated canopies with the bands of ``s2-canopy-10``, every other one seen by Sentinel-2B.

    Parameters
    ----------
    count : int
    seed : int
        Blocks of 5,000 canopies have seeds of their own, made of this one.
    """
    parts = [_block(min(_BLOCK, count - n), 1000 * seed + n // _BLOCK) for n in range(0, count, _BLOCK)]
    return Examples(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _block(count: int, seed: int) -> tuple[Float32, Float32]:
    from xrs.spectra import draw_canopies

    drawn = draw_canopies(count, seed=seed)
    bands = np.empty((count, len(BANDS["s2-canopy-10"])))
    for n, sensor in enumerate(_SENSORS):
        response = spectral_response(sensor, drawn.wavelengths, BANDS["s2-canopy-10"])
        bands[n :: len(_SENSORS)] = drawn.spectra[n :: len(_SENSORS)] @ response.T
    cosines = np.cos(np.deg2rad(np.stack([drawn.parameters[name] for name in ANGLES.values()], axis=1)))
    wanted = np.stack([drawn.parameters[name] for name in VARIABLES.values()], axis=1)
    return np.concatenate([bands, cosines], axis=1).astype(np.float32), wanted.astype(np.float32)


def noisy(seen: Float32, seed: int) -> Float32:
    """Bands with noise, angles as they are (example, band and angle)."""
    rng = np.random.default_rng(seed)
    bands = seen[:, : -len(ANGLES)].astype(np.float64)
    shared, own = (rng.standard_normal((2, len(bands), n)) for n in (1, bands.shape[1]))
    bands = bands * (1 + _RELATIVE * (shared[0] + own[0])) + _ABSOLUTE * (shared[1] + own[1])
    return np.concatenate([bands.astype(np.float32), seen[:, -len(ANGLES) :]], axis=1)


def train_canopy(
    examples: Examples,
    bands: Sequence[str],
    *,
    features: int = 32,
    members: int = 3,
    copies: int = 2,
    epochs: int = 30,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> Model:
    """Train the network on examples, each several times with other noise.

    Parameters
    ----------
    examples : Examples
        With the bands of ``s2-canopy-10``. Those beyond the variables' valid ranges are left out: the thickest canopies
        look alike, and would draw the estimates of others towards them. A tenth of the rest tells which epoch is best,
        and how wide 90 % intervals are. Of those to train on, half of the canopies with a leaf area above 6 are left
        out, for the same reason.
    bands : sequence of str
        Those the network is to see.
    features : int
        Of the hidden layers.
    members : int
        Trained from other weights and noise, side by side in the result.
    copies : int
        Of each example, with other noise.
    epochs, seed : int
    device : str
    progress : bool
    """
    chosen = examples.possible().of_bands(bands)
    kept = max(len(chosen.seen) // 10, 1)
    train, held_out = _split(chosen, slice(kept, None)).usual(), _split(chosen, slice(kept))
    settings = Settings(epochs, _BATCH, 3e-3, optimizer="adam", schedule="cosine", seed=seed, device=device)
    start = _patches(train, 0, seed)
    networks, losses = [], []
    for member in range(members):
        term = Term(_patches(train, copies, seed + 100 * member + 1), _patches(held_out, 1, seed + 99))
        network = _untrained(len(bands), features, 1, seed + member)
        network.begin([torch.from_numpy(start.inputs[0])], torch.from_numpy(start.target), torch.from_numpy(start.mask))
        history = fit(network, [term], _likelihood, settings, progress=progress, begin=False)
        networks.append(network.cpu().eval())
        losses.append([asdict(epoch) for epoch in history])
    joined = side_by_side(networks, _untrained(len(bands), features, members, seed))
    _calibrate(joined, held_out, seed + 98)
    facts = {
        "data": f"{len(train.seen)} canopies of xrs.spectra.draw_canopies (PROSPECT-D, 4SAIL), {copies} times",
        "sensors": list(_SENSORS),
        "noise": {"absolute": _ABSOLUTE, "relative": _RELATIVE, "of": "pixels, and again of bands"},
        "loss_curve": [curve[-1] for curve in losses],
        "low": [float(f"{v:.5g}") for v in train.seen.min(axis=0) - _TOLERANCE],
        "high": [float(f"{v:.5g}") for v in train.seen.max(axis=0) + _TOLERANCE],
        **settings.what_matters(),
    }
    card = Card(
        network="canopy",
        task="retrieval",
        images=(_seen_spec(bands),),
        outputs=ImageSpec((*VARIABLES, *(f"{name}_std" for name in VARIABLES))),
        config={"features": features, "members": members},
        margin=0,
        training=facts,
        licence="Apache-2.0",
        created_by=f"xrs {package_version()}",
    )
    return Model.from_module(joined, card)


def scores(model: Model, examples: Examples, seed: int) -> dict[str, float]:
    """Root mean square error and bias of each variable, and the share of errors within 1.645 standard deviations.

    Of canopies within the valid ranges, as ``LAI 0-6`` of those with a leaf area up to 6, and as ``LAI of all`` of all.

    Parameters
    ----------
    model : Model
    examples : Examples
        Others than those it was trained on, with the bands of ``s2-canopy-10``; noise is added.
    seed : int
        Of the noise.
    """
    bands = model.card.images[0].bands[: -len(ANGLES)]
    network = model.build().eval()

    def errors(of: Examples) -> tuple[Float64, Float64]:
        mean, std = _results(network, noisy(of.of_bands(bands).seen, seed))
        return mean - of.wanted, std

    chosen = examples.possible()
    error, std = errors(chosen)
    low = chosen.wanted[:, 0] <= _USUAL_LAI
    parts = {name: error[:, k] for k, name in enumerate(VARIABLES)}
    parts |= {f"LAI 0-{_USUAL_LAI}": error[low, 0], "LAI of all": errors(examples)[0][:, 0]}
    found: dict[str, float] = {}
    for name, part in parts.items():
        found |= {f"{name} RMSE": float(np.sqrt((part**2).mean())), f"{name} bias": float(part.mean())}
    covered = (np.abs(error) <= quantile_of(_LEVEL) * std).mean(axis=0)
    found |= {f"{name} coverage": float(share) for name, share in zip(VARIABLES, covered, strict=True)}
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def _split(examples: Examples, part: slice) -> Examples:
    return Examples(examples.seen[part], examples.wanted[part])


def _untrained(bands: int, features: int, members: int, seed: int) -> Canopy:
    network = get_network("canopy").build(
        (bands + len(ANGLES),), (1,), outputs=2 * len(VARIABLES), features=features, members=members, seed=seed
    )
    assert isinstance(network, Canopy)
    return network


def _patches(examples: Examples, copies: int, seed: int) -> Patches:
    """Examples as the pixels of small images, several times with other noise, or once without."""
    many = [noisy(examples.seen, 1000 * seed + copy) for copy in range(copies)] or [examples.seen]
    seen, wanted = _images(np.concatenate(many)), _images(np.tile(examples.wanted, (len(many), 1)))
    return Patches((seen,), wanted, np.ones(wanted.shape, bool), np.zeros((len(wanted), 3), np.int64))


def _images(rows: Float32) -> Float32:
    """Rows (example, band) as images (image, band, y, x); what is left over is left out."""
    count = len(rows) // _SIDE**2
    images = rows[: count * _SIDE**2].reshape(count, _SIDE, _SIDE, -1).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images)


def _likelihood(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Negative log-likelihood of normal distributions, weighted by their spread.

    The weights keep the mean from being learned where it is certain alone (Seitzer et al. 2022, arXiv:2203.09168).
    """
    mean, std = prediction.chunk(2, dim=1)
    error = (target - mean) / std
    weight = std.detach() / target.std(dim=(0, 2, 3), keepdim=True)
    return (weight * (0.5 * error**2 + torch.log(std)))[mask].mean()


def _calibrate(network: Canopy, held_out: Examples, seed: int) -> None:
    """Scale the standard deviations so that 1.645 of them cover 90 % of held-out examples."""
    mean, std = _results(network, noisy(held_out.seen, seed))
    error, spread = ((part[:, :, None, None]).astype(np.float32) for part in (mean - held_out.wanted, std))
    factors = conformal_factors(error, spread, np.ones(error.shape, bool), np.arange(len(error)), _LEVEL)
    with torch.no_grad():
        network.get_buffer("factor").copy_(torch.from_numpy(factors)[:, None, None])


@torch.no_grad()
def _results(network: torch.nn.Module, seen: Float32) -> tuple[Float64, Float64]:
    """Means and standard deviations (example, variable)."""
    result = network(torch.from_numpy(seen)[:, :, None, None])[:, :, 0, 0].double().numpy()
    mean, std = np.split(result, 2, axis=1)
    return mean, std


def _seen_spec(bands: Sequence[str]) -> ImageSpec:
    sensor = get_sensor(_SENSORS[0])
    centres = tuple(sensor[key].wavelength for key in bands)
    return ImageSpec((*bands, *ANGLES), 1, (*centres, *(float("nan") for _ in ANGLES)))


def make(count: int, test: int, **options: Any) -> dict[str, Model]:
    """The shipped models, with scores on canopies of other seeds.

    Parameters
    ----------
    count, test : int
        Canopies to train on and to test with.
    **options
        Of :func:`train_canopy`.
    """
    examples, others = draw_examples(count, seed=1), draw_examples(test, seed=2)
    made = {}
    for name, bands in BANDS.items():
        model = train_canopy(examples, bands, **options)
        made[name] = model.with_card(replace(model.card, metrics=scores(model, others, seed=3)))
    return made


def main(args: Sequence[str] | None = None) -> None:
    """Train the weights and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder")
    parser.add_argument("--canopies", type=int, default=100_000)
    parser.add_argument("--test", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    given = vars(parser.parse_args(args))
    folder, count, test = (given.pop(name) for name in ("output", "canopies", "test"))
    for name, model in make(count, test, progress=True, **given).items():
        model.save(folder / f"{name}.safetensors")
        print(name, model.card.metrics)


if __name__ == "__main__":
    main()
