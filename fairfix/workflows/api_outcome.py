"""The result of ``fairfix.debias``: an outcome with the network, its predictions, and its files."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

from torch import nn

from fairfix.data.spec.given_inputs import GivenInputs
from fairfix.data.table_source import Data, table_source
from fairfix.errors import UsageError
from fairfix.models import checkpoint as checkpoints
from fairfix.models.checkpoint import Checkpoint
from fairfix.models.threads import limited_threads
from fairfix.thresholds.rule_file import FoundRule
from fairfix.workflows import api_outputs, outcome
from fairfix.workflows.library_messages import in_library_terms
from fairfix.workflows.predict import Predictions, predict_rows
from fairfix.workflows.save import Destination


@dataclass(frozen=True, repr=False)
class Outcome(outcome.Outcome):
    """What ``fairfix.debias`` returns: data of the run, and what is done with its result."""

    @classmethod
    def of(cls, run: outcome.Outcome) -> Outcome:
        """Return the outcome of a run."""
        return cls(**{field.name: getattr(run, field.name) for field in fields(run)})

    @cached_property
    def model(self) -> nn.Module:
        """The debiased network, on the CPU, in evaluation mode and in float32.

        It gives the output of the network that went in; ``rule`` decides on its scores.

        Raises:
            UsageError: for scores without a network.
        """
        module = self._checkpoint.module if self.case.checkpoint is not None else None
        if module is None:
            raise UsageError(
                "The result has no network, since only scores were given; use its rule, or predict."
            )
        return module

    @in_library_terms
    def predict(self, data: Data) -> Predictions:
        """Score and decide rows with the result, as the written files would.

        Args:
            data: as ``fairfix.load`` takes it; labels are not needed, and the group only if the
                rule has group thresholds.

        Raises:
            FairfixError: as ``fairfix.load``.
        """
        case = self.case
        source = table_source(data, case.columns)
        if case.classifier is not None:
            source = case.classifier.table(source, case.columns)
        options = replace(case.options, inputs=GivenInputs(), data_spec=None)
        checkpoint = None if case.checkpoint is None else self._checkpoint
        found = FoundRule(self.rule, "the outcome")
        with limited_threads(case.threads):
            return predict_rows(checkpoint, found, source, {}, options, case.spec)

    def save(
        self,
        output: str | Path | None = None,
        *,
        force: bool = False,
        allow_trivial: bool = False,
        export: str | Path | None = None,
    ) -> Destination:
        """Write checkpoint, rule and reports. See ``fairfix.save``."""
        return api_outputs.save(
            self, output, force=force, allow_trivial=allow_trivial, export=export
        )

    @property
    def _checkpoint(self) -> Checkpoint:
        """The checkpoint with a network of its own that has the new weights."""
        checkpoint = self.case.checkpoint
        assert checkpoint is not None
        if checkpoint.is_fixed:
            return replace(checkpoint, module=copy.deepcopy(checkpoint.module))
        tensors = checkpoint.tensors if self.state is None else self.state
        return checkpoints.with_tensors(checkpoint, tensors)
