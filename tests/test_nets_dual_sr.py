"""The two-stream network for hyperspectral images: its degraders, its loss, its variance, and what it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import xrs
from xrs.cube import band_keys
from xrs.errors import ParameterError
from xrs.kernels import decimate
from xrs.nets import get_network
from xrs.nets.dual_sr import DualSR
from xrs.sensors import spectral_response

S2_BANDS = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]


def _seen(truth: xr.DataArray, ratio: int, bands: list[str]) -> dict[str, xr.DataArray]:
    """What a fine multispectral and a coarse hyperspectral sensor see of the truth."""
    return {
        "ms": xrs.observe(truth, "sentinel-2a", bands=bands, ratio=1).compute(),
        "hs": xrs.degrade(truth, ratio).compute(),
    }


def _landscape(size: int, step: int) -> xr.DataArray:
    scene = xrs.scenes.landscape(
        (2 * size, 2 * size), resolution=15.0, times=["2023-06-20"], wavelengths=range(420, 2441, step)
    )
    return scene.isel(time=0).coarsen(y=2, x=2).mean().compute()


def _errors(estimate: xr.Dataset, truth: xr.DataArray, ratio: int) -> tuple[float, float, float]:
    """PSNR in dB, SAM in degrees, RMSE."""
    found = estimate[band_keys(truth)].to_dataarray("band")
    table = xrs.evaluate(found, truth, ratio=ratio, peak=1.0, metrics=["psnr", "sam", "rmse"])
    return float(table.psnr), float(table.sam), float(table.rmse)


def _images(fine: int, coarse: int, ratio: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        1 + 0.5 * torch.randn((1, fine, 12 * ratio, 12 * ratio), generator=generator),
        1 + 0.5 * torch.randn((1, coarse, 12, 12), generator=generator),
    )


@pytest.mark.parametrize("coarse", [3, 60, 224])
@pytest.mark.parametrize("fine", [1, 4, 10])
def test_first_results_are_as_large_as_the_images(fine: int, coarse: int) -> None:
    network = DualSR((fine, coarse), (1, 3))
    images = _images(fine, coarse)
    with torch.no_grad():
        for values in (network(*images), *network.streams(*images)):
            assert 0.7 < float(values.mean()) < 1.3
            assert 0.05 < float(values.std()) < 1.5


@pytest.mark.parametrize("ratio", [2, 3, 4])
def test_point_spread_starts_as_the_sensors(ratio: int) -> None:
    from xrs.kernels import gaussian_taps

    network = DualSR((2, 5), (1, ratio), gain=0.25)
    taps = network.taps.detach().numpy()
    np.testing.assert_allclose(taps, gaussian_taps(0.25, ratio), atol=1e-6)
    with torch.no_grad():
        network.tap_logits += torch.rand(network.tap_logits.shape, generator=torch.Generator().manual_seed(1)) / 10
    moved = network.taps.detach().numpy()
    assert abs(moved.sum() - 1) < 1e-6
    np.testing.assert_array_equal(moved, moved[::-1])


def test_response_may_be_the_sensors() -> None:
    wavelengths = np.arange(420.0, 2441.0, 20.0)
    wanted = spectral_response("sentinel-2a", wavelengths, ["B03", "B8A"])
    network = DualSR((2, wavelengths.size), (1, 3), response=wanted.tolist())
    np.testing.assert_allclose(network.response.detach().numpy(), wanted, atol=1e-5)
    assert not network.response_logits.requires_grad


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"options": "c"}, "options='c'"),
        ({"response": [[1.0, 0.0]]}, "response of shape"),
        ({"response": [[1.0, -1.0, 1.0]] * 2}, "weights of 0 or more"),
    ],
)
def test_wrong_parameters(config: dict[str, object], complaint: str) -> None:
    with pytest.raises(ParameterError, match=complaint):
        get_network("dual_sr").build((2, 3), (1, 3), **config)


def test_gate_mixes_the_streams() -> None:
    network = DualSR((4, 9), (1, 3), features=8, blocks=1)
    images = _images(4, 9)
    with torch.no_grad():
        gate, (spatial, spectral) = network.gate(*images), network.streams(*images)
        torch.testing.assert_close(network(*images), gate * spatial + (1 - gate) * spectral)
    assert gate.shape == spatial.shape == (1, 9, 36, 36)
    assert gate.min() >= 0
    assert gate.max() <= 1


def _consistent(ratio: int = 3) -> tuple[DualSR, list[torch.Tensor], torch.Tensor]:
    """A network, and images that its degraders make of a truth."""
    network = DualSR((2, 5), (1, ratio), features=8, blocks=1)
    truth = torch.rand((1, 5, 36, 36), generator=torch.Generator().manual_seed(2))
    taps = np.broadcast_to(network.taps.detach().numpy(), (5, network.taps.numel()))
    coarse = torch.from_numpy(decimate(truth[0].numpy(), taps.astype(float), ratio))[None]
    return network, [truth.mean(1, keepdim=True).expand(-1, 2, -1, -1), coarse], truth


@pytest.mark.parametrize("options", ["a", "b", "ab"])
def test_loss_counts_what_was_seen_alone(options: str) -> None:
    network, images, truth = _consistent()
    network = DualSR((2, 5), (1, 3), features=8, blocks=1, options=options)
    seen = torch.ones((1, 1, 36, 36)) > 0
    seen[..., 6:21, 6:21] = False  # five coarse pixels: the point spread reaches two
    changed = truth.clone()
    changed[..., 13, 13] += 5.0
    with torch.no_grad():
        plain = network._terms(*images, truth, seen)
        other = network._terms(*images, changed, seen)
        for one, two in zip(plain, other, strict=True):
            assert abs(float(one) - float(two)) < 1e-5  # beyond the neighbours the point spread has faint tails


def test_the_truth_satisfies_option_a() -> None:
    network, images, truth = _consistent()
    seen = torch.ones((1, 1, 36, 36)) > 0
    with torch.no_grad():
        fit, _, to_fine, to_coarse, *_ = network._terms(*images, truth, seen)
    assert max(float(fit), float(to_fine), float(to_coarse)) < 1e-5


def test_streams_start_from_the_regression() -> None:
    """Where the coarse bands are linear in the fine ones the spectral stream is right before any training."""
    generator = torch.Generator().manual_seed(4)
    fine = torch.rand((2, 3, 36, 36), generator=generator)
    weights = torch.rand((7, 3), generator=generator)
    truth = torch.einsum("ck,nkyx->ncyx", weights, fine) + 0.3
    network = DualSR((3, 7), (1, 3), features=8, blocks=1)
    with torch.no_grad():
        coarse = network._coarsened(truth)
        network.begin([fine, coarse], coarse, coarse > 0)
        torch.testing.assert_close(network.linear(fine), truth, atol=1e-4, rtol=0)


TRAINING = {"task": "sharpen", "network": "dual_sr", "protocol": "consistency", "progress": False, "device": "cpu"}


def test_beats_interpolation_on_a_simulated_scene() -> None:
    truth = _landscape(64, 80)
    seen = _seen(truth, 4, S2_BANDS)
    model = xrs.train(
        seen, **TRAINING, epochs=5, patches=16, patch_size=32, batch_size=4, schedule="cosine", features=16, blocks=1
    )
    psnr, sam, rmse = _errors(xrs.sharpen(seen, method="dual_sr", model=model), truth, 4)
    cubic, ratio = (_errors(xrs.sharpen(seen, method=method), truth, 4) for method in ("exp", "sfim"))
    assert psnr > cubic[0] + 12
    assert sam < cubic[1] / 2
    assert psnr > ratio[0]
    assert rmse < ratio[2]


@pytest.mark.slow
def test_beats_hypersharpening_on_enmap(shared_data) -> None:  # type: ignore[no-untyped-def]
    with xr.open_dataset(shared_data / "enmap_potsdam.nc") as product:
        stored = product["reflectance_dn"].isel(y=slice(64, 192), x=slice(96, 160))
        values = stored.where(stored != stored.attrs["nodata"]).astype("float32").values * np.float32(1e-4)
        good = np.flatnonzero(product["bad_band"].values == 0)[::4]
        centres = product["wavelength"].values
        y, x = stored["y"].values, stored["x"].values
    truth = xr.DataArray(values, dims=("band", "y", "x"), coords={"y": y, "x": x})
    keys = [f"E{n:03d}" for n in range(1, 225)]
    truth = xrs.cube.assign_bands(truth, keys, wavelength=centres.tolist())
    seen = _seen(truth, 4, S2_BANDS)
    truth, seen["hs"] = truth.isel(band=good), seen["hs"].isel(band=good)
    model = xrs.train(
        seen, **TRAINING, epochs=20, patches=32, patch_size=32, batch_size=4, schedule="cosine", held_out=0.1
    )
    psnr, sam, rmse = _errors(xrs.sharpen(seen, method="dual_sr", model=model), truth, 4)
    for method in ("exp", "mtf_glp", "gsa"):
        other = _errors(xrs.sharpen(seen, method=method), truth, 4)
        assert psnr > other[0], (method, other, (psnr, sam, rmse))
        assert sam < other[1], (method, other, (psnr, sam, rmse))
        assert rmse < other[2], (method, other, (psnr, sam, rmse))
