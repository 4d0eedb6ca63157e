"""Sparse sums of spectra: orthogonal matching pursuit, and dictionaries made by K-SVD."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Float32, Float64
from xrs.methods.spectral._examples import blocks_of

__all__ = ["Codes", "learn_dictionary", "mixed", "pursue"]

#: An atom that lies this close to the span of those chosen (squared distance) is not taken.
_DEPENDENT = 1e-10

#: Steps of the alternation that finds an atom and its coefficients.
_ALTERNATIONS = 5


@dataclass(frozen=True)
class Codes:
    """Sparse sums of atoms.

    Attributes
    ----------
    index : ndarray of int32 (n, sparsity)
        Atoms, -1 where none is left.
    value : ndarray, float64 (n, sparsity)
        Their coefficients, 0 where there is none.
    error : ndarray, float64 (n,)
        Squared distance between a spectrum and its sum.
    """

    index: NDArray[np.int32]
    value: Float64
    error: Float64


def pursue(spectra: NDArray[np.floating], atoms: Float64, sparsity: int) -> Codes:
    """Orthogonal matching pursuit: spectra as sums of few atoms.

    One atom after the other is taken, the one that points most along what is left, and all coefficients are solved
    anew (Pati, Rezaiifar and Krishnaprasad 1993, 10.1109/ACSSC.1993.342465). It ends early where nothing is left.

    Parameters
    ----------
    spectra : ndarray (n, band)
    atoms : ndarray (atom, band)
        Of length 1, or 0.
    sparsity : int
        Atoms for each spectrum at most.
    """
    n = len(spectra)
    sparsity = min(sparsity, *atoms.shape)
    codes = Codes(np.full((n, sparsity), -1, np.int32), np.zeros((n, sparsity)), np.empty(n))
    columns, gram = np.ascontiguousarray(atoms.T), atoms @ atoms.T
    _pursue(np.ascontiguousarray(spectra, np.float64), columns, gram, codes.index, codes.value, codes.error)
    return codes


def mixed(index: NDArray[np.integer], value: Float64, spectra: Float32) -> Float32:
    """Sums (band, n) of the spectra (m, band) that ``index`` (n, k) names, times ``value``."""
    out = np.empty((len(index), spectra.shape[1]), np.float32)
    _mix(index, value.astype(np.float32), spectra, out)
    return out.T


def learn_dictionary(
    spectra: NDArray[np.floating], atoms: int, sparsity: int, rounds: int, seed: int
) -> tuple[Float64, Codes]:
    """Atoms (atom, band) of length 1 that make sparse sums of the spectra (n, band), and these sums.

    K-SVD: pursuit and the renewal of one atom after the other, by turns. The error of no round is above that of the
    one before: a spectrum keeps its former sum where pursuit finds none better. An atom that is used nowhere becomes
    what is left of the spectrum that is met worst.

    References
    ----------
    Aharon, Elad and Bruckstein (2006), IEEE Transactions on Signal Processing 54(11):4311-4322,
    10.1109/TSP.2006.881199.
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", spectra, spectra, dtype=np.float64))
    usable = np.flatnonzero(lengths > 0)
    atoms = min(atoms, len(usable))
    first = np.random.default_rng(seed).choice(usable, atoms, replace=False)
    dictionary = spectra[first] / lengths[first, None]
    codes = _coded(spectra, dictionary, sparsity)
    for _ in range(rounds):
        residual = residual_of(spectra, dictionary, codes)
        _renew(residual, dictionary, codes)
        codes = _better(_coded(spectra, dictionary, sparsity), codes, np.einsum("ij,ij->i", residual, residual))
    return dictionary, codes


def residual_of(spectra: NDArray[np.floating], dictionary: Float64, codes: Codes) -> Float64:
    """What the sums leave of the spectra (n, band)."""
    residual = spectra.astype(np.float64)
    for k in range(codes.index.shape[1]):
        # Index -1 has the coefficient 0.
        residual -= codes.value[:, k, None] * dictionary[codes.index[:, k]]
    return residual


def _coded(spectra: NDArray[np.floating], dictionary: Float64, sparsity: int) -> Codes:
    parts = [pursue(spectra[block], dictionary, sparsity) for block in blocks_of(len(spectra))]
    return Codes(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("index", "value", "error")))


def _better(new: Codes, old: Codes, error: Float64) -> Codes:
    """For each spectrum the better of two sums; ``error`` is that of the old ones."""
    keep = error < new.error
    return Codes(
        np.where(keep[:, None], old.index, new.index),
        np.where(keep[:, None], old.value, new.value),
        np.where(keep, error, new.error),
    )


def _renew(residual: Float64, dictionary: Float64, codes: Codes) -> None:
    """Replace each atom and its coefficients by the best of rank one, in place; ``residual`` follows."""
    unused = []
    for k, (rows, places) in enumerate(_users(codes.index, len(dictionary))):
        if not len(rows):
            unused.append(k)
            continue
        values = codes.value[rows, places]
        target = residual[rows] + values[:, None] * dictionary[k]
        atom = dictionary[k]
        for _ in range(_ALTERNATIONS):
            fresh = values @ target
            length = np.linalg.norm(fresh)
            if length == 0:
                break
            atom = fresh / length
            values = target @ atom
        dictionary[k] = atom
        codes.value[rows, places] = values
        residual[rows] = target - values[:, None] * atom
    left = np.linalg.norm(residual, axis=1)
    for k, worst in zip(unused, np.argsort(-left, kind="stable"), strict=False):
        if left[worst] > 0:
            dictionary[k] = residual[worst] / left[worst]


def _users(index: NDArray[np.int32], atoms: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows and columns of ``index`` that hold each atom."""
    flat = index.ravel()
    order = np.argsort(flat, kind="stable")
    edges = np.searchsorted(flat[order], np.arange(atoms + 1))
    parts = (order[a:b] for a, b in pairwise(edges))
    return [np.divmod(part, index.shape[1]) for part in parts]


@njit(nogil=True, cache=True, error_model="numpy")
def _mix(index, value, spectra, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        row = out[i]
        row[:] = 0.0
        for k in range(index.shape[1]):
            if index[i, k] >= 0:
                weight, source = value[i, k], spectra[index[i, k]]
                for b in range(row.size):
                    row[b] += weight * source[b]


@njit(nogil=True, cache=True, error_model="numpy")
def _pursue(spectra, columns, gram, index, value, error):  # type: ignore[no-untyped-def]
    bands, count = columns.shape
    most = index.shape[1]
    along, left = np.empty(count), np.empty(count)
    factor, forward, solution = np.zeros((most, most)), np.empty(most), np.empty(most)
    for i in range(len(spectra)):
        along[:] = 0.0
        energy = 0.0
        for b in range(bands):
            x = spectra[i, b]
            energy += x * x
            for a in range(count):
                along[a] += x * columns[b, a]
        left[:] = along
        rest, used = energy, 0
        while used < most and rest > 1e-20 * energy:
            best = _strongest(left)
            if not _extend(factor, gram, index[i], used, best):
                break
            # Forward substitution adds one row; backward gives all coefficients.
            total = along[best]
            for k in range(used):
                total -= factor[used, k] * forward[k]
            forward[used] = total / factor[used, used]
            rest -= forward[used] ** 2
            index[i, used] = best
            used += 1
            for k in range(used - 1, -1, -1):
                total = forward[k]
                for j in range(k + 1, used):
                    total -= factor[j, k] * solution[j]
                solution[k] = total / factor[k, k]
            if used < most:
                left[:] = along
                for k in range(used):
                    weight, row = solution[k], gram[index[i, k]]
                    for a in range(count):
                        left[a] -= weight * row[a]
        value[i, :used] = solution[:used]
        error[i] = max(rest, 0.0)


@njit(nogil=True, cache=True, error_model="numpy")
def _strongest(left):  # type: ignore[no-untyped-def]
    best, most = 0, -1.0
    for a in range(left.size):
        if abs(left[a]) > most:
            best, most = a, abs(left[a])
    return best


@njit(nogil=True, cache=True, error_model="numpy")
def _extend(factor, gram, chosen, used, best):  # type: ignore[no-untyped-def]
    """A new row of the Cholesky factor of the chosen atoms' scalar products; False if the atom depends on them."""
    square = gram[best, best]
    for k in range(used):
        total = gram[chosen[k], best]
        for j in range(k):
            total -= factor[used, j] * factor[k, j]
        factor[used, k] = total / factor[k, k]
        square -= factor[used, k] ** 2
    if square <= _DEPENDENT:
        return False
    factor[used, used] = np.sqrt(square)
    return True
