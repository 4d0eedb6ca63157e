"""Spectral super-resolution: many narrow bands from the few of one sensor. One file a method.

What a method of this family gets and gives:

``apply(tile, state, **params)`` returns float32 (wanted band, y, x) on the grid of the finest observation, without
halo. ``tile.arrays`` holds it as ``ms`` (band, y, x); a method whose record ``needs`` ``"coarse"`` may also get coarser
groups of the same sensor under their own names (``r20m``). All without gaps; ``tile.valid`` tells where they were.

Methods that learn from examples of spectra have ``learn(given, wanted, **params) -> fit`` on the record: ``given``
float32 (example, band of ms) and ``wanted`` float32 (example, wanted band), in the unit of ``ms`` and without NaN, and
all parameters of the record as keywords. It is called once, when a result is computed; ``apply`` gets what it returns
as ``fit``. Where the examples come from (a library, cubes) is the operator's affair.

A method that names a parameter ``srf`` gets the response of the bands of ``ms`` over the wanted bands, float64 (band,
wanted band), rows sum to 1; None where none is known. ``learn`` gets it too.

Networks (:mod:`.networks`) bring a model in place of examples.

What a result must fulfil, that the sensor of ``ms`` would see ``ms`` in it, the operator sees to, for every method
alike (``consistent=``).
"""
