"""Models that come with the library: safetensors files with their cards; see :func:`xrs.list_models`."""
