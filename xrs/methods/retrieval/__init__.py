"""Retrieval: biophysical variables of the vegetation from reflectance. One file a method.

What a method of this family gets and gives:

``apply(tile, state, **params)`` returns float32 (1, y, x), the variable in its unit, without halo; with the parameter
``spread`` (if the record names it) float32 (2, y, x), the variable and its standard deviation. ``tile.arrays`` holds
``ms`` (band, y, x): reflectance; gaps are filled, and put back by ``lazy``.

``bind(observed, (variable,), **params)`` finds the bands it needs in ``observed["ms"]`` by key, with their wavelengths
checked, and returns the :class:`~xrs.methods.base.Binding` whose params hold their order.

Parameters that only the operator knows are filled in where a method names them: ``angles``, the cosines of the sun's
zenith, of the view zenith and of the relative azimuth.
"""
