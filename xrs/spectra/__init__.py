"""Spectra of the Earth's surface: measured ones, simulated ones, and examples made of them.

- :class:`SpectralLibrary`: reflectances on common wavelengths, with names and classes.
- A *source* draws any number of spectra from a seed: the n-th is the same however many are asked for.
- :func:`draw_pairs`: what two sensors would see of the spectra of a source, for all that learns from examples.
"""
