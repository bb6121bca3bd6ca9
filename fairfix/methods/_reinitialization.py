"""Give a network freshly initialized weights."""

from __future__ import annotations

from torch import nn

from fairfix.errors import UsageError


def reinitialize(network: nn.Module) -> None:
    """Initialize all parameters again, and the buffers of their modules, as PyTorch does.

    Draws from torch's global random state.

    Raises:
        UsageError: if a module with parameters of its own has no ``reset_parameters``; then the
            network is unchanged.
    """
    owners = [
        (name, module)
        for name, module in network.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    for name, module in owners:
        if not callable(getattr(module, "reset_parameters", None)):
            raise UsageError(
                f"The layer {name or type(module).__name__!r} cannot be initialized again: "
                f"{type(module).__name__} has no reset_parameters. Fine-tune without --retrain, or "
                "add that method to the class."
            )
    for _, module in owners:
        module.reset_parameters()
