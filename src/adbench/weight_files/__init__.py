"""The one reader of weight files, of whatever origin: no code of a file ever runs, no declared size is believed."""

from adbench.weight_files.containers import is_safetensors
from adbench.weight_files.state import WeightFile, open_weights, plain_names, read_state

__all__ = ["WeightFile", "is_safetensors", "open_weights", "plain_names", "read_state"]
