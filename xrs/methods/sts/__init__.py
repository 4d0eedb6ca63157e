"""Spatio-temporal-spectral fusion: fine in space, time and spectrum at once. One file a method.

What a method of this family gets and gives:

``apply(tile, state, **params)`` returns float32 (target, band, y, x): the bands of the hyperspectral sensor on the grid
of ``ms``, on every target date, without halo, NaN where a pixel is undetermined (nobody else puts NaN back).

``tile.arrays`` (date, band, y, x), gaps filled, ``tile.valid`` telling where they were, ``tile.days`` when each was
seen:

- ``hs``: the hyperspectral sensor, coarse, on the dates nearest to the targets: one before and one after, then the
  nearest, as many as the operator's ``pairs``;
- ``ms``: the fine multispectral sensor, likewise; its dates need not be those of ``hs``;
- ``wide_hs``, ``wide_ms``: the wide-swath sensor on the dates of ``hs`` and of ``ms``;
- ``target``: the wide-swath sensor on the dates to predict.

All targets of one call share their ``hs`` and ``ms`` dates. ``tile.factors`` count pixels along the side of the
smallest square that is whole pixels of every grid (ratios 3 and 2: ``hs`` 2, ``wide`` 3, ``ms`` 6); no grid need have
factor 1.
``halo`` is in such squares.

Parameters that only the operator knows are filled in where a method names them:

- ``psf``: mapping of taps (band, tap) from the grid of ``ms``: ``hs`` (bands of hs) and ``ms`` (bands of ms) to the
  grid of ``hs``, ``wide`` (bands of wide) to that of ``wide``, absent if it is that of ``ms``;
- ``srf``: mapping of ``ms`` and ``wide`` to their response (band, hs band), rows sum to 1; None where unknown.
"""
