"""The public functions that write files: keyword arguments around the workflows."""

from __future__ import annotations

from pathlib import Path

from fairfix.workflows.export import export_file
from fairfix.workflows.library_messages import in_library_terms
from fairfix.workflows.outcome import Outcome
from fairfix.workflows.save import Destination
from fairfix.workflows.save import save as save_outcome


@in_library_terms
def save(
    outcome: Outcome,
    output: str | Path | None = None,
    *,
    force: bool = False,
    allow_trivial: bool = False,
    export: str | Path | None = None,
) -> Destination:
    """Write checkpoint, rule and reports, all of them or none; return where they are.

    Args:
        outcome: what ``debias`` returned.
        output: the new checkpoint; ``<stem>.debiased<suffix>`` beside the input by default.
        force: replace existing files. Inputs are never overwritten.
        allow_trivial: write a result that decides fewer than 2 % of the rows unlike the rest.
        export: a .pt or .pt2 file for network and thresholds as one program, to be thresholded at
            0.5.

    Raises:
        NoResultError: for a trivial result, with what to try next.
        OutputError: if a file exists, is an input, or cannot be written.
        VerificationError: if the checkpoint, read back, decides differently than reported.
    """
    return save_outcome(outcome, output, force=force, allow_trivial=allow_trivial, export_to=export)


@in_library_terms
def export(outcome: Outcome, path: str | Path, *, force: bool = False) -> Path:
    """Write network and thresholds as one TorchScript (.pt) or ``torch.export`` (.pt2) program.

    Its output, thresholded at 0.5 (logits at 0), gives the decisions of the rule; they are compared
    on every row of the run.

    Args:
        outcome: what ``debias`` returned.
        path: the file to write; its suffix selects the format.
        force: replace an existing file.

    Raises:
        UsageError: for another suffix, randomized thresholds, or group thresholds where the group
            is not among the network's inputs.
        OutputError: if the file exists (without ``force``) or cannot be written.
        VerificationError: if the program decides differently.
    """
    return export_file(outcome, Path(path), force=force)
