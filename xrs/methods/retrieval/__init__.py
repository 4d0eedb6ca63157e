"""Retrieval: biophysical variables of the vegetation from reflectance. One file a method.

What a method of this family gets and gives:

``apply(tile, state, **params)`` returns float32 (1, y, x), the variable in its unit, without halo; with the parameter
``spread`` (where its binding offers it) float32 (2, y, x), the variable and its standard deviation. ``tile.arrays``
holds ``ms`` (band, y, x): reflectance; gaps are filled, and put back by ``lazy``. A method whose record ``needs``
``"angles"`` gets as ``angles`` (3, y, x) the cosines of the view zenith, of the sun's zenith and of the relative
azimuth too.

``bind(observed, (variable,), **params)`` finds the bands it needs in ``observed["ms"]`` by key, with their wavelengths
checked (:func:`._bands.find_sentinel2`), and returns the :class:`~xrs.methods.base.Binding` whose params hold their
order as ``bands``.

Where a method has no value, because the pixel looks like nothing it knows or its result is not possible, it puts out
NaN: :func:`._variables.limited`.
"""
