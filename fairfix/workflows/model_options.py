"""How a model is read and run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fairfix.data.inputs import InputOptions
from fairfix.data.spec.given_inputs import GivenInputs
from fairfix.errors import CheckpointError, UsageError
from fairfix.models import checkpoint as checkpoints
from fairfix.models.checkpoint import Checkpoint
from fairfix.models.inputs import Inputs
from fairfix.models.targets import Targets
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.rule_file import checkpoint_key_of

Model = str | Path | nn.Module
"""A file or folder, or a network in memory."""

_ROWS = 64  # enough to convert a program


@dataclass(frozen=True)
class ModelOptions:
    """How to read and run a model.

    Attributes:
        arch, arch_args, trust, checkpoint_key: as ``fairfix.models.checkpoint.read`` takes them.
        data_spec: the data spec's path or content; None looks for ``<model stem>.data.json`` beside
            the model.
        output_kind: "auto", "prob" or "logit"; "auto" follows from the network's last operation.
        output_name: key or position of the output with the scores, if the network has several.
        output_label: the label value whose probability the network gives; None is the value 1
            where the table has it, else the favorable value.
        classes: the label value of each output of a network with more than two, in their order;
            None takes those stored with the network.
        targets: the labels of a network with one output for each of several; None for one label.
        device: "auto" takes a GPU where there is one.
        batch_size: rows run at once; None chooses it from the network's memory per row.
        threads: CPU threads; None chooses them from the sizes of network and table.
        files: how the files that a table names are read.
        inputs: inputs other than columns of numbers, where no data spec describes them.
    """

    arch: str | None = None
    arch_args: Mapping[str, Any] | None = None
    trust: bool = False
    data_spec: str | Path | Mapping[str, Any] | None = None
    output_kind: str = "auto"
    output_name: str | None = None
    output_label: str | None = None
    device: str = "auto"
    batch_size: int | None = None
    checkpoint_key: str | None = None
    threads: int | None = None
    files: InputOptions = field(default_factory=InputOptions)
    inputs: GivenInputs = field(default_factory=GivenInputs)
    classes: Sequence[str] | None = None
    targets: Targets | None = None

    @property
    def network_alone(self) -> tuple[str, ...]:
        """The given options that say how a network is read, which scores without one lack."""
        names = ("arch", "checkpoint_key", "output_name", "output_label", "classes")
        given = [name for name in names if getattr(self, name) is not None]
        given += [] if self.output_kind == "auto" else ["output_kind"]
        return (*self.inputs.options, *(f"--{name.replace('_', '-')}" for name in given))

    def completed(
        self, model: Model | None, rule: DecisionRule | Path | None = None
    ) -> ModelOptions:
        """Return the options with the ``checkpoint_key`` of the model's rule if none is given."""
        if not isinstance(model, str | Path) or self.checkpoint_key is not None or model == "-":
            return self
        if isinstance(rule, DecisionRule):
            key = None if rule.contract is None else rule.contract.checkpoint_key
            return replace(self, checkpoint_key=key)
        return replace(self, checkpoint_key=checkpoint_key_of(Path(model), rule))

    def read_model(self, model: Model) -> Checkpoint:
        """Read a checkpoint from a file, or copy a network in memory.

        Raises:
            FairfixError: as ``read_checkpoint``.
            UsageError: if an option that is for files is given with a network in memory.
        """
        if not isinstance(model, nn.Module):
            return self.read_checkpoint(model)
        for name in ("arch", "arch_args", "checkpoint_key"):
            if getattr(self, name) is not None:
                option = name.replace("_", "-")
                raise UsageError(
                    f"--{option} is for networks in files, and this one is in memory; leave it out."
                )
        return checkpoints.read_module(model)

    def read_checkpoint(self, path: str | Path, inputs: Inputs | None = None) -> Checkpoint:
        """Read a checkpoint as these options say. See ``fairfix.models.checkpoint.read``.

        Args:
            inputs: the first rows are for a program that does not record its input.
        """
        return checkpoints.read(
            path,
            arch=self.arch,
            arch_args=self.arch_args,
            trust=self.trust,
            checkpoint_key=self.checkpoint_key,
            rows=None if inputs is None else inputs.batch(slice(_ROWS)),
        )

    def read_for_rows(self, checkpoint: Checkpoint, inputs: Inputs) -> Checkpoint:
        """Read a program again if it was converted with an input of another width than the rows.

        Raises:
            CheckpointError: if it cannot be converted with the rows, or the file has changed.
        """
        if checkpoint.tried_width is None:
            return checkpoint
        if checkpoint.tried_width == inputs.batch(slice(1)).tensors[0].shape[-1]:
            return checkpoint
        again = self.read_checkpoint(checkpoint.file, inputs)
        if again.file_stamp != checkpoint.file_stamp:
            raise CheckpointError(f"{checkpoint.path} has changed since it was read. Start again.")
        return again

    def torch_device(self) -> torch.device:
        """Return the device to run on.

        Raises:
            UsageError: if it is not available.
        """
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(name)
        except RuntimeError:
            raise UsageError(
                f"Unknown device {name!r}; use auto, cpu, cuda, cuda:1 or mps."
            ) from None
        try:
            torch.zeros(1, device=device).item()
        except (RuntimeError, AssertionError) as error:
            reason = str(error).partition("\n")[0].removesuffix(".")
            raise UsageError(
                f"The device {name!r} cannot be used here: {reason}. Use --device cpu."
            ) from None
        return device
