"""Where patches lie, what is read for them, and what gaps do."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support import BANDS, cube, nothing_computed, rechunked, s2_tree
from training import images, tree

from xrs.cube import to_array, to_dataset
from xrs.errors import ParameterError
from xrs.kernels import decimate
from xrs.kernels.psf import box_taps
from xrs.training.images import images_of
from xrs.training.protocols import Pairs, consistency, wald
from xrs.training.sampling import draw_patches, make_places


def pairs_of(tree: xr.DataTree, target: str | None = None) -> Pairs:
    return wald(images(tree, target=target), None, "box")


class TestPlaces:
    @settings(max_examples=60, deadline=None)
    @given(st.integers(4, 80), st.integers(8, 80), st.integers(2, 4), st.floats(0.01, 0.99), st.integers(0, 99))
    def test_parts_never_share_a_pixel(self, height: int, width: int, side: int, share: float, seed: int) -> None:
        places = make_places(height, width, 2, side, share, seed)
        rng = np.random.default_rng(seed)
        seen = {True: np.zeros((height, width), bool), False: np.zeros((height, width), bool)}
        for held_out in (True, False):
            for site in np.repeat(places.sites(held_out), 5, axis=0):
                spot = places.spot(site, rng)
                if spot is not None:
                    _, row, column = spot
                    assert 0 <= row <= height - side
                    assert 0 <= column <= width - side
                    seen[held_out][row : row + side, column : column + side] = True
        assert seen[True].any()
        assert not (seen[True] & seen[False]).any()

    def test_places_are_held_out_on_all_dates(self) -> None:
        places = make_places(64, 64, 3, 8, 0.25, 0)
        held_out = {tuple(site[1:]) for site in places.sites(True)}
        assert len(places.sites(True)) == 3 * len(held_out)
        assert not held_out & {tuple(site[1:]) for site in places.sites(False)}

    def test_too_small_a_scene(self) -> None:
        with pytest.raises(ParameterError, match="two patches side by side"):
            make_places(8, 12, 1, 8, 0.1, 0)


class TestPatches:
    def test_values_are_those_of_the_scene(self) -> None:
        pairs = pairs_of(tree(times=2))
        train, held_out = draw_patches(pairs, count=12, side=4)
        for part in (train, held_out):
            for n, (date, row, column) in enumerate(part.spots):
                for image, values, factor in zip(pairs.inputs.arrays, part.inputs, pairs.inputs.factors, strict=True):
                    window = image.isel(
                        time=date,
                        y=slice(row * factor, (row + 4) * factor),
                        x=slice(column * factor, (column + 4) * factor),
                    )
                    np.testing.assert_array_equal(values[n], window.values)
                rows, columns = slice(2 * row, 2 * row + 8), slice(2 * column, 2 * column + 8)
                np.testing.assert_array_equal(part.target[n], pairs.target.values[date, :, rows, columns])
        assert len(train) == 12
        assert len(np.unique(train.spots, axis=0)) == 12
        assert set(train.spots[:, 0]) == {0, 1}

    @pytest.mark.parametrize("protocol", [wald, consistency])
    def test_three_grids_nest(self, protocol: object) -> None:
        made = images(s2_tree(24), target="r60m")
        assert made.ratios == (1, 2, 6)
        pairs = protocol(made, None, "box")  # type: ignore[operator]
        train, _ = draw_patches(pairs, count=2, side=2)
        assert [i.shape[-1] for i in train.inputs] == [12, 6, 2]
        assert train.target.shape[1:] == (2, *((12, 12) if protocol is wald else (2, 2)))

    @settings(max_examples=6, deadline=None)
    @given(st.integers(7, 60), st.integers(7, 60), st.integers(0, 3))
    def test_any_chunking_draws_the_same(self, cut: int, width: int, seed: int) -> None:
        scene = tree(times=2)
        lazy = scene.map_over_datasets(lambda ds: ds.chunk(time=1, y=cut, x=width) if ds.data_vars else ds)
        expected, _ = draw_patches(pairs_of(scene), count=8, side=4, seed=seed)
        drawn, _ = draw_patches(pairs_of(lazy), count=8, side=4, seed=seed)
        np.testing.assert_array_equal(drawn.spots, expected.spots)
        for one, other in zip((*drawn.inputs, drawn.target), (*expected.inputs, expected.target), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)

    def test_degraded_inputs_are_what_the_kernel_makes(self) -> None:
        scene = tree()
        pairs = pairs_of(scene)
        low = decimate(to_array(scene["r10m"].to_dataset()).values, box_taps(2), 2)
        np.testing.assert_allclose(pairs.inputs.arrays[0].values[0], low, rtol=1e-6)
        np.testing.assert_array_equal(pairs.target.values[0], to_array(scene["r20m"].to_dataset()).values)

    def test_seeds_draw_other_patches(self) -> None:
        one, _ = draw_patches(pairs_of(tree()), count=8, side=4, seed=0)
        other, _ = draw_patches(pairs_of(tree()), count=8, side=4, seed=1)
        assert not np.array_equal(one.spots, other.spots)


def counted(source: np.ndarray, chunks: tuple[int, ...]) -> tuple[da.Array, set[object]]:
    """A lazy array that notes which of its blocks were read."""
    read: set[object] = set()

    def note(block: np.ndarray, block_info: dict | None = None) -> np.ndarray:
        if block_info:
            read.add(block_info[0]["chunk-location"])
        return block

    return da.from_array(source, chunks=chunks).map_blocks(note, dtype=source.dtype), read


class TestLaziness:
    def test_only_blocks_under_patches_are_read(self) -> None:
        fine = cube((640, 640), 10.0, times=3)
        coarse = cube((320, 320), 20.0, times=3, seed=5)
        lazy, blocks = {}, {}
        for name, image, side in (("r10m", fine, 64), ("r20m", coarse, 32)):
            data, blocks[name] = counted(image.values, (1, len(BANDS), side, side))
            lazy[name] = image.copy(data=data)
        with nothing_computed():
            pairs = wald(images_of(lazy, None, "sharpen", None)[0], None, "box")
        assert not any(blocks.values())
        train, _ = draw_patches(pairs, count=16, side=4)
        assert len(train) == 16
        total = 3 * 10 * 10
        # A patch touches at most two by two tiles, and the point spread their neighbours.
        for read in blocks.values():
            assert 0 < len(read) < total / 2

    def test_arrays_without_dates(self) -> None:
        scene = {n: rechunked(to_array(tree()[n].to_dataset()), 13, 17) for n in ("r10m", "r20m")}
        train, held_out = draw_patches(wald(images_of(scene, None, "sharpen", None)[0], None, "box"), count=4, side=4)
        assert len(train) == 4
        assert len(held_out) == 1


class TestGaps:
    def cloudy(self, where: tuple[slice, slice], group: str = "r20m") -> xr.DataTree:
        scene = tree(12)
        image = to_array(scene[group].to_dataset())
        image = image.copy(data=image.values.copy())
        image.values[..., where[0], where[1]] = np.nan
        groups = {n: scene[n].to_dataset() for n in scene.children} | {group: to_dataset(image)}
        return xr.DataTree.from_dict(groups)

    def test_cloudy_patches_are_not_taken(self) -> None:
        scene = self.cloudy((slice(0, 18), slice(None)))
        for part in draw_patches(pairs_of(scene), count=16, side=4, most_missing=0.0):
            assert (part.spots[:, 1] >= 9).all()
            assert part.mask.all()

    @pytest.mark.parametrize("group", ["r10m", "r20m"])
    def test_small_gaps_are_filled_and_do_not_count(self, group: str) -> None:
        step = 2 if group == "r10m" else 1
        scene = self.cloudy((slice(8 * step, 10 * step), slice(8 * step, 10 * step)), group)
        train, held_out = draw_patches(pairs_of(scene), count=40, side=4, held_out=0.3)
        touched = 0
        for part in (train, held_out):
            assert all(np.isfinite(a).all() for a in (*part.inputs, part.target))
            for n, (_, row, column) in enumerate(part.spots):
                expected = np.ones((8, 8), bool)
                rows, columns = (slice(max(8 - 2 * s, 0), max(10 - 2 * s, 0)) for s in (row, column))
                expected[rows, columns] = False
                touched += not expected.all()
                np.testing.assert_array_equal(part.mask[n], np.broadcast_to(expected, part.mask[n].shape))
        assert touched

    def test_nothing_but_cloud(self) -> None:
        with pytest.raises(ParameterError, match="at most 25% missing"):
            draw_patches(pairs_of(self.cloudy((slice(None), slice(None)))), count=4, side=4)

    def test_edges_seen_through_what_lies_outside_do_not_count(self) -> None:
        pairs = consistency(images(), None, "mtf")
        train, _ = draw_patches(pairs, count=4, side=8)
        margin = pairs.margin
        assert margin > 0
        assert train.mask[:, :, margin:-margin, margin:-margin].all()
        assert train.mask.sum() == train.mask.shape[0] * train.mask.shape[1] * (8 - 2 * margin) ** 2


class TestRefusals:
    @pytest.mark.parametrize(
        "wrong", [{"count": 0}, {"held_out": 0.0}, {"held_out": 1.0}, {"most_missing": 1.0}, {"side": 40}]
    )
    def test_arguments_out_of_range(self, wrong: dict[str, float]) -> None:
        with pytest.raises(ParameterError):
            draw_patches(pairs_of(tree()), **({"count": 4, "side": 4} | wrong))  # type: ignore[arg-type]
