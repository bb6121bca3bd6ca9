"""Trained networks in files: reading, writing back in the same format, recognising."""

from fairfix.checkpoint.base import Checkpoint
from fairfix.checkpoint.files import read, write
from fairfix.checkpoint.recognise import recognise
from fairfix.checkpoint.tensors import stored_state, weights_sha256

__all__ = ["Checkpoint", "read", "recognise", "stored_state", "weights_sha256", "write"]
