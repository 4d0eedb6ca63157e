"""Every network made for the task, by a model of the user's."""

from xrs.methods._networks import network_methods

__all__ = ["METHODS"]

METHODS = network_methods("pansharpen")
