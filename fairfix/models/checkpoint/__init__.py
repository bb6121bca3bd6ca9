"""Read, detect and write back trained networks in files: one module per format.

To add a checkpoint format:

1. Write a module in this package that defines ``KEY``, ``read``, ``save`` and ``read_back`` (see
   ``read_write.Format``).
2. Add it to ``FORMATS`` in ``read_write.py``.
3. Return its ``KEY`` for its files in ``detect_format.py``; formats are detected by content, not by
   file name.

Then describe how its own library writes, reads and runs such a file in
``tests/helpers/checkpoint_models.py``; the tests of all formats then include it. Formats can only
be added inside the package, because readers of untrusted files are security code.
"""

from fairfix.models.checkpoint.checkpoint import Checkpoint
from fairfix.models.checkpoint.detect_format import detect
from fairfix.models.checkpoint.memory import read_module, reload, with_tensors
from fairfix.models.checkpoint.read_write import read, write
from fairfix.models.checkpoint.tensor_checks import stored_state, weights_sha256

__all__ = [
    "Checkpoint",
    "detect",
    "read",
    "read_module",
    "reload",
    "stored_state",
    "weights_sha256",
    "with_tensors",
    "write",
]
