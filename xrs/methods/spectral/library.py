"""The wanted bands of the spectra of a library: the nearest ones, or a few atoms that add up.

The first takes time: its tree looks through many spectra in as many dimensions as bands, the more, the larger and the
noisier the library is.

Both bring the shape of known spectra; neither meets what was seen as well as a regression does, until the result is
brought to agree with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from xrs.kernels.types import Float32, Float64
from xrs.methods.base import Method, Param, Reference, State, Tile
from xrs.methods.spectral._examples import check_examples, walk, whitening
from xrs.methods.spectral._sparse import Codes, learn_dictionary, mixed, pursue

#: Spectra in a leaf of the tree: about the fastest over scenes with noise.
_LEAF = 32

#: Share of the spectra's energy that a dictionary may leave out.
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class _Nearest:
    """Spectra of a library.

    Attributes
    ----------
    whiten : ndarray (band, band)
        To the space where distances are taken.
    tree : cKDTree
        Of the given bands there.
    wanted : ndarray (example, wanted band)
    """

    whiten: Float64
    tree: Any
    wanted: Float32


def _learn_nearest(given: Float32, wanted: Float32, *, neighbours: int, floor: float, **_: Any) -> _Nearest:
    check_examples(given, wanted, max(neighbours, 2))
    whiten = whitening(given, floor)
    return _Nearest(whiten, cKDTree(given @ whiten, leafsize=_LEAF), np.ascontiguousarray(wanted, np.float32))


def _apply_nearest(tile: Tile, _: State, *, fit: _Nearest, neighbours: int, **_params: Any) -> Float32:
    def look_up(spectra: Float32) -> Float32:
        # Not a product of matrices: BLAS would start threads of its own inside Dask's.
        whitened = np.einsum("bn,bc->nc", spectra.astype(np.float64), fit.whiten)
        distance, index = fit.tree.query(whitened, k=np.arange(1, neighbours + 1))
        return mixed(index, _shares(distance), fit.wanted)

    return walk(tile.core("ms"), fit.wanted.shape[1], look_up)


def _shares(distance: Float64) -> Float64:
    """Weights of sum 1 by the inverse square of the distance; all to those at distance zero if there are any."""
    same = distance == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.where(same.any(axis=1, keepdims=True), same, 1.0 / np.square(distance))
    return weights / weights.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class _Dictionary:
    """Atoms as they are given, of length 1 (atom, band), and the same as they are wanted (atom, wanted band)."""

    given: Float64
    wanted: Float32


def _learn_dictionary(
    given: Float32,
    wanted: Float32,
    *,
    atoms: int,
    sparsity: int,
    rounds: int,
    seed: int,
    srf: Float64 | None = None,
    **_: Any,
) -> _Dictionary:
    check_examples(given, wanted, 2)
    components = _components(wanted)
    short, codes = learn_dictionary(wanted @ components, atoms, sparsity, rounds, seed)
    dictionary = short @ components.T
    known = srf is not None and bool(np.isfinite(srf).all())
    seen = dictionary @ srf.T if srf is not None and known else _seen_atoms(codes, given, len(dictionary))
    length = np.linalg.norm(seen, axis=1, keepdims=True)
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 1e-6 * length.max())
    return _Dictionary(seen * scale, (dictionary * scale).astype(np.float32))


def _components(spectra: Float32) -> Float64:
    """Orthonormal directions (band, component) that hold all but next to nothing of the spectra."""
    values, vectors = np.linalg.eigh(spectra.T.astype(np.float64) @ spectra)
    return vectors[:, np.cumsum(values) > _NEGLIGIBLE * values.sum()]


def _seen_atoms(codes: Codes, given: Float32, atoms: int) -> Float64:
    """Atoms of the given bands with which the sums of the wanted ones make the examples best."""
    rows = np.repeat(np.arange(len(given)), codes.index.shape[1])
    used = codes.index.ravel() >= 0
    entries = (codes.value.ravel()[used], (rows[used], codes.index.ravel()[used]))
    weights = csr_array(entries, shape=(len(given), atoms))
    scatter = (weights.T @ weights).toarray()
    ridge = 1e-6 * np.trace(scatter) / atoms
    seen: Float64 = np.linalg.solve(scatter + ridge * np.eye(atoms), weights.T @ given.astype(np.float64))
    return seen


def _apply_dictionary(tile: Tile, _: State, *, fit: _Dictionary, sparsity: int, **_params: Any) -> Float32:
    def rebuild(spectra: Float32) -> Float32:
        codes = pursue(spectra.T, fit.given, sparsity)
        return mixed(codes.index, codes.value, fit.wanted)

    return walk(tile.core("ms"), fit.wanted.shape[1], rebuild)


def _count(least: int) -> Any:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= least


_LIBRARY = Method(
    name="library",
    family="spectral",
    summary="The spectra of the library that look nearest to the sensor, weighted.",
    apply=_apply_nearest,
    learn=_learn_nearest,
    reference=Reference(
        "Cover 1968, Estimation by the nearest neighbor rule, IEEE Transactions on Information Theory 14(1):50-55",
        "10.1109/TIT.1968.1054098",
    ),
    params=(
        Param("neighbours", 8, "spectra that are averaged", "an integer from 1 on", _count(1)),
        Param(
            "floor",
            0.1,
            "least spread of a direction of the whitened space, as a share of the largest: what differs less counts "
            "less",
            "a number above 0, at most 1",
            lambda v: isinstance(v, int | float) and 0 < v <= 1,
        ),
    ),
    needs=("ms",),
    differs="Distances are taken in whitened bands, weights are their inverse squares.",
)

_SPARSE = Method(
    name="dictionary",
    family="spectral",
    summary="Sparse sums of the atoms of a dictionary learned from the library.",
    apply=_apply_dictionary,
    learn=_learn_dictionary,
    reference=Reference(
        "Arad and Ben-Shahar 2016, Sparse recovery of hyperspectral signal from natural RGB images, ECCV, 19-34",
        "10.1007/978-3-319-46478-7_2",
    ),
    params=(
        Param("atoms", 256, "of the dictionary", "an integer from 1 on", _count(1)),
        Param("sparsity", 4, "atoms in a sum at most", "an integer from 1 on", _count(1)),
        Param("rounds", 10, "of K-SVD", "an integer from 0 on; with 0 the atoms are spectra of the library", _count(0)),
        Param("seed", 0, "of the spectra that the atoms begin as", "an integer from 0 on", _count(0)),
    ),
    needs=("ms",),
    differs="Before K-SVD spectra are reduced to the components that hold all but a millionth of their energy. Where "
    "the sensor's response is not known, the atoms it sees are those whose sums come nearest to the examples.",
)

METHODS = (_LIBRARY, _SPARSE)
