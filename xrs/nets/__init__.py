"""Networks as torch modules, one file a network. Torch loads with the first network asked for."""

from xrs.nets.registry import get_network, list_networks

__all__ = ["get_network", "list_networks"]
