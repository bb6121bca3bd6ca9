"""Options for the output of a run: files, JSON, messages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fairfix.cli.options.option import advanced, common


def output_options(
    output: Annotated[
        Path | None,
        common(
            "Debiased checkpoint.",
            "--output",
            "-o",
            default="<stem>.debiased<suffix>",
        ),
    ] = None,
    force: Annotated[bool, common("Replace existing files.", "--force")] = False,
    allow_trivial: Annotated[
        bool,
        advanced(
            "Write a result that decides fewer than 2 % of the rows unlike the rest; otherwise "
            "nothing is written and the exit code is 3.",
            "--allow-trivial",
        ),
    ] = False,
    fold_threshold: Annotated[
        bool,
        advanced(
            "Fold the threshold into the bias of the last layer, so that 0.5 applies.",
            "--fold-threshold",
        ),
    ] = False,
    no_recalibrate: Annotated[
        bool,
        advanced(
            "Leave the scores of changed weights as they are; otherwise they are fitted to the "
            "labels of the validation rows without changing a decision.",
            "--no-recalibrate",
        ),
    ] = False,
    export: Annotated[
        Path | None,
        advanced(
            "Also write network and thresholds as one program whose output is compared with 0.5: "
            ".pt for TorchScript, .pt2 for torch.export.",
            "--export",
        ),
    ] = None,
) -> None: ...


def message_options(
    json: Annotated[bool, common("Print the result as JSON on stdout.", "--json")] = False,
    quiet: Annotated[bool, advanced("Print errors only.", "--quiet", "-q")] = False,
    verbose: Annotated[
        bool,
        advanced("Print all that was inferred, not one line of it.", "--verbose", "-v"),
    ] = False,
    debug: Annotated[bool, advanced("Print a traceback on errors.", "--debug")] = False,
) -> None: ...
