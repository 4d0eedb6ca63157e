"""Let the C library's allocator keep what it has been given."""

from __future__ import annotations

import ctypes
import os

__all__ = ["keep_memory"]

# Numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3

#: Bytes that may stay unused at the end of the heap, and from which on arrays are mapped anew each time; before glibc
#: 2.35 the latter can be no more than the other value.
_KEPT, _MAPPED, _MAPPED_BEFORE = 2**30, 2**30, 2**25

#: The size of the heaps from which glibc serves threads. Asked to keep one free, it gives none of them back.
_HEAP = 2**26


def keep_memory() -> None:
    """Keep freed memory in this process, and take arrays from it that would be mapped anew each time.

    Otherwise glibc gives large arrays back to the system at once, and touching the fresh pages of the next can take as
    long as what is computed: at most 32 MiB are kept by default, next to nothing in Dask's workers, whose environment
    freezes that size. Threads get no more than 64 MiB from a heap, larger arrays are mapped always.
    What the user's environment says of ``MALLOC_MMAP_THRESHOLD_`` stays. Without effect where the C library is not
    glibc.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_TOP_PAD, _HEAP)
    if "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    mallopt(_M_TRIM_THRESHOLD, _KEPT)
    if not mallopt(_M_MMAP_THRESHOLD, _MAPPED):
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BEFORE)
