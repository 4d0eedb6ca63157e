"""Closed-form starts of networks: penalties by generalised cross-validation, neighbours where they tell something."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d, pad

from xrs.nets import get_network
from xrs.nets._ridge import _PENALTIES, neighbourhood_regression, ridge


def _drawn(rows: int, given: int, wanted: int, noise: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, given)) * np.linspace(0.1, 2.0, given) + 1.0
    y = x @ rng.standard_normal((given, wanted)) + noise * rng.standard_normal((rows, wanted)) + 3.0
    return torch.from_numpy(x), torch.from_numpy(y)


class TestRidge:
    @pytest.mark.parametrize("spent", [0.0, 10.0])
    @pytest.mark.parametrize("noise", [0.1, 3.0, 30.0])
    def test_the_penalty_is_that_of_the_hat_matrix(self, noise: float, spent: float) -> None:
        """Each penalty solved as it stands, with residuals and trace of the matrix that makes the fit of the data."""
        x, y = _drawn(40, 6, 3, noise)
        fit = ridge(x, y, spent=spent)
        centred, goal = (part.numpy() - part.numpy().mean(axis=0) for part in (x, y))
        usual = np.square(centred).sum(axis=0).mean()
        scores, slopes = [], []
        for penalty in _PENALTIES:
            inverse = np.linalg.inv(centred.T @ centred + penalty * usual * np.eye(6))
            hat = centred @ inverse @ centred.T
            rows = 40 - spent - 1 - np.trace(hat)
            scores.append(np.square(goal - hat @ goal).sum() / rows**2)
            slopes.append((inverse @ centred.T @ goal).T)
        np.testing.assert_allclose(fit.slopes, slopes[int(np.argmin(scores))], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(fit.offsets, y.mean(axis=0) - fit.slopes @ x.mean(axis=0))

    def test_without_noise_it_is_exact_and_with_nothing_to_learn_nothing(self) -> None:
        x, y = _drawn(40, 6, 3, 0.0)
        fit = ridge(x, y)
        np.testing.assert_allclose(x @ fit.slopes.T + fit.offsets, y, atol=1e-6)
        noise = torch.from_numpy(np.random.default_rng(5).standard_normal((40, 3)))
        assert ridge(x, noise).spent < 3.0
        assert ridge(torch.ones(10, 2), torch.ones(10, 1)).slopes.abs().max() == 0.0

    def test_free_columns_bear_no_penalty(self) -> None:
        x, y = _drawn(60, 4, 1, 50.0)
        truth = np.linalg.lstsq(np.c_[x, np.ones(60)], y.numpy(), rcond=None)[0]
        free = ridge(x, y, free=4)
        np.testing.assert_allclose(free.slopes[0], truth[:4, 0], rtol=1e-5)
        assert ridge(x, y).spent < 4.0 - 1e-3
        assert free.spent == pytest.approx(4.0, abs=1e-3)


class TestNeighbourhood:
    def _image(self) -> torch.Tensor:
        return torch.rand((3, 4, 16, 16), generator=torch.Generator().manual_seed(1))

    def test_a_convolution_is_found(self) -> None:
        image = self._image()
        kernel = torch.randn((5, 4, 3, 3), generator=torch.Generator().manual_seed(2))
        target = conv2d(pad(image, (1, 1, 1, 1), mode="replicate"), kernel) + 1.0
        fit = neighbourhood_regression(image, target, torch.ones(3, 16, 16, dtype=torch.bool))
        np.testing.assert_allclose(fit.slopes, kernel, atol=1e-3)
        np.testing.assert_allclose(fit.offsets, np.ones(5), atol=1e-3)

    def test_gaps_and_what_lies_around_them_are_left_out(self) -> None:
        image = self._image()
        kernel = torch.randn((5, 4, 3, 3), generator=torch.Generator().manual_seed(2))
        target = conv2d(pad(image, (1, 1, 1, 1), mode="replicate"), kernel)
        mask = torch.rand((3, 16, 16), generator=torch.Generator().manual_seed(3)) > 0.05
        holes = torch.where(mask[:, None], image, torch.full_like(image, 7.0))
        fit = neighbourhood_regression(holes, target, mask)
        np.testing.assert_allclose(fit.slopes, kernel, atol=1e-3)

    def test_single_pixels_have_no_neighbours(self) -> None:
        image = torch.rand((200, 4, 1, 1), generator=torch.Generator().manual_seed(1))
        mixing = torch.randn((5, 4, 1, 1), generator=torch.Generator().manual_seed(2))
        fit = neighbourhood_regression(image, conv2d(image, mixing), torch.ones(200, 1, 1, dtype=torch.bool))
        np.testing.assert_allclose(fit.slopes[:, :, 1, 1], mixing[:, :, 0, 0], atol=1e-4)
        around = fit.slopes.clone()
        around[:, :, 1, 1] = 0.0
        assert around.abs().max() < 1e-6

    @pytest.mark.parametrize("name", ["hsrnet", "ponet", "dster", "mst_plus_plus"])
    def test_networks_begin_with_it_where_one_sensor_lies_off_the_other(self, name: str) -> None:
        """Half a pixel to the side: no function of single pixels tells that, one of neighbours does."""
        generator = torch.Generator().manual_seed(4)
        image = torch.rand((4, 3, 24, 24), generator=generator)
        mixing = torch.rand((12, 3, 1, 1), generator=generator)
        target = conv2d((image + image.roll(1, 3)) / 2, mixing)
        mask = torch.ones_like(target, dtype=torch.bool)
        network = get_network(name).build((3,), (1,), outputs=12)
        network.begin([image], target, mask)
        with torch.no_grad():
            left = (network(image) - target)[:, :, :, 2:-2].square().mean()
        alone = np.linalg.lstsq(
            np.c_[image.movedim(1, -1).reshape(-1, 3), np.ones(4 * 24 * 24)],
            target.movedim(1, -1).reshape(-1, 12),
            rcond=None,
        )[1].mean() / (4 * 24 * 24)
        assert left < 0.02 * alone


@pytest.mark.parametrize("name", ["spectralift", "srecnn", "rercnn", "dster", "hsrnet"])
def test_starts_are_the_same_from_call_to_call(name: str) -> None:
    """Whatever lies in memory beside them."""
    generator = torch.Generator().manual_seed(6)
    image, target = (torch.rand((8, bands, 8, 8), generator=generator) for bands in (5, 20))
    held, starts = [], []
    for size in range(1, 13):
        held.append(torch.empty(97 * size))
        network = get_network(name).build((5,), (1,), outputs=20, seed=3)
        network.begin([image.clone()], target.clone(), torch.ones_like(target, dtype=torch.bool))
        starts.append(torch.cat([weights.flatten() for weights in network.state_dict().values()]))
    assert all(torch.equal(start, starts[0]) for start in starts)
