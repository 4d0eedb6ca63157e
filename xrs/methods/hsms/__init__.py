"""Hyperspectral-multispectral fusion: the bands of one sensor on the grid of another. One file a method.

What a method of this family gets and gives:

``apply(tile, state, **params)`` returns float32 (band, y, x), the bands of ``hs`` on the grid of ``ms``, without halo.
``tile.arrays`` holds ``hs`` (band, y, x), factor 1, and ``ms`` (band, y, x), factor *ratio* (2 or more), of one date,
without gaps; ``tile.valid`` tells where they were. ``summarise`` of a pass gets the same tiles.

Parameters that only the operator knows are filled in where a method names them (:data:`_common.PSF`,
:data:`_common.SRF`); ``apply`` and all passes get them as keywords, of the date at hand, never None:

- ``psf``: mapping with ``hs``: taps (hs band, tap), the point spread from the grid of ``ms`` to that of ``hs``; and
  ``ms``: taps (ms band, tap), what the sensor of ``hs`` would make of the bands of ``ms``. Rows sum to 1.
- ``srf``: float64 (ms band, hs band), the response of each band of ``ms`` over the bands of ``hs``. Rows sum to 1.
  For a method that names it, the tile's ``ms`` was matched to it: ``ms = (observed - offset) / gain``, a gain and an
  offset for each band, such that ``decimate(ms, psf["ms"]) ~ srf @ hs``. Other methods get ``ms`` as it was observed.

The gain, the offset, the response (unless it is known) and, with ``psf="estimate"``, the point spread are learned of
each date by a pass of the operator's before the method's own (:mod:`._observation`). With ``register`` the operator
has moved one of the two before.

``halo(factors, **params)`` gets ``psf`` with the widest taps there can be, and ``srf`` None where it is yet to be
learned. ``solve`` returns the method's own state; it need not care for what the operator has learned. A date of which
nothing was seen in both observations never reaches ``solve`` or ``apply``: it is NaN.

Records have ``needs=("hs", "ms")``. Random draws take their place in the scene (``tile.origin``) and a parameter
``seed``, never the tile, so that no result depends on the chunking.
"""
