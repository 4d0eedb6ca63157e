"""Libraries of spectra from files."""
