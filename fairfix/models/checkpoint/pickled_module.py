"""Whole networks saved with ``torch.save(model, path)``.

With an architecture, only the weights are read.
"""

from dataclasses import replace

from fairfix.models.checkpoint import state_dict
from fairfix.models.checkpoint.build_pickled import build_network
from fairfix.models.checkpoint.checkpoint import Checkpoint, ReadRequest
from fairfix.models.checkpoint.find_tensors import stored_tensors
from fairfix.models.checkpoint.fixed_network import is_fixed
from fairfix.models.checkpoint.load_weights import attach_loaded_network, attach_network
from fairfix.models.checkpoint.torch_file import open_torch_file

KEY = "pickled_module"

save = state_dict.save
read_back = state_dict.read_back


def read(request: ReadRequest) -> Checkpoint:
    """Read a file with its network, or with that of the given architecture.

    Raises:
        TrustError: if the pickle needs code other than torch's, without permission.
        CheckpointError: if that code is missing or fails.
    """
    file = open_torch_file(request.path)
    class_name = file.content.class_name
    checkpoint = Checkpoint(
        request.path,
        KEY,
        f"whole pickled network of class {class_name}",
        None,
        {},
        notes=file.notes,
        metadata={"class": class_name},
    )
    tensors = stored_tensors(file.content, file)
    if request.arch is not None:
        return attach_network(checkpoint, request, file=tensors)
    unreadable = next(iter(tensors.unreadable.values()), None)
    if unreadable is not None and not request.trust:
        raise unreadable
    module, ran = build_network(file, request)
    if unreadable is not None and not is_fixed(module):
        raise unreadable
    if ran:  # the note that nothing was run is no longer true
        checkpoint = replace(checkpoint, notes=())
    return attach_loaded_network(checkpoint, module, file=tensors)
