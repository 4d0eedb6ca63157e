"""Numba and NumPy on plain arrays: resampling between nested grids, point spread, statistics, gaps."""

from xrs.kernels.gaps import fill_gaps
from xrs.kernels.moments import Moments, merge_moments, moments_of
from xrs.kernels.psf import box_taps, gaussian_taps, reach_of, stack_taps
from xrs.kernels.resample import decimate, decimate_adjoint, upsample

__all__ = [
    "Moments",
    "box_taps",
    "decimate",
    "decimate_adjoint",
    "fill_gaps",
    "gaussian_taps",
    "merge_moments",
    "moments_of",
    "reach_of",
    "stack_taps",
    "upsample",
]
