"""Small trees whose coarse bands follow the fine ones, and call counters, for tests of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from support import s2_tree

from xrs.training.images import images_of
from xrs.training.protocols import Images

#: A network and patches so small that an epoch takes a few milliseconds.
TINY: dict[str, Any] = {
    "task": "sharpen",
    "network": "light",
    "features": 8,
    "blocks": 1,
    "patches": 16,
    "patch_size": 8,
    "batch_size": 8,
    "device": "cpu",
    "progress": False,
}


def tree(n: int = 10, times: int = 0, sixty: bool = False, seed: int = 0) -> xr.DataTree:
    return s2_tree(n, times=times, sixty=sixty, seed=seed)


def images(cube: Any = None, **options: Any) -> Images:
    return images_of(tree() if cube is None else cube, None, "sharpen", options.get("target"))[0]


def weights(model: Any) -> dict[str, np.ndarray]:
    return dict(model.weights())


def assert_same_weights(one: Any, other: Any) -> None:
    mine, theirs = weights(one), weights(other)
    assert mine.keys() == theirs.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
