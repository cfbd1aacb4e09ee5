"""The one CLIP wrapper: open_clip models, frozen, with both towers open to edits between their blocks."""

from adbench.clip.loading import load_clip
from adbench.clip.model import Clip, TextInput
from adbench.clip.towers import Streams, run_blocks

__all__ = ["Clip", "Streams", "TextInput", "load_clip", "run_blocks"]
