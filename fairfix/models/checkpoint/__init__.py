"""Trained networks in files: reading, writing back in the same format, recognizing."""

from fairfix.models.checkpoint.base import Checkpoint
from fairfix.models.checkpoint.detect_format import recognize
from fairfix.models.checkpoint.read_write import read, write
from fairfix.models.checkpoint.tensor_checks import stored_state, weights_sha256

__all__ = ["Checkpoint", "read", "recognize", "stored_state", "weights_sha256", "write"]
