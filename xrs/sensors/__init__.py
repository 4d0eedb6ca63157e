"""What instruments do to a scene: bands, spectral response, point spread, and the forward operator."""

from xrs.sensors.forward import ForwardOperator, apply_response, forward_operator
from xrs.sensors.model import DEFAULT_MTF, DEFAULT_MTF_PAN, Band, Sensor, sensor_from_table
from xrs.sensors.psf import check_taps, psf_of
from xrs.sensors.registry import get_sensor, known_sensor, list_sensors
from xrs.sensors.srf import response_of, spectral_response

__all__ = [
    "DEFAULT_MTF",
    "DEFAULT_MTF_PAN",
    "Band",
    "ForwardOperator",
    "Sensor",
    "apply_response",
    "check_taps",
    "forward_operator",
    "get_sensor",
    "known_sensor",
    "list_sensors",
    "psf_of",
    "response_of",
    "sensor_from_table",
    "spectral_response",
]
