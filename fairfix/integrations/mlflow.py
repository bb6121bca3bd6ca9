"""MLflow: figures, verdict and page of a result in a run."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pandas as pd

from fairfix._utils.optional_packages import needed_for
from fairfix.workflows.audit import Audit
from fairfix.workflows.forms_of_results import document_of, page_of
from fairfix.workflows.gate.gate import Gate
from fairfix.workflows.outcome import Outcome

with needed_for("log_result", "mlflow", "mlflow"):
    import mlflow

FOLDER = "fairfix"
"""Of artifacts, and first part of the names of metrics and tags."""

_REFUSED = re.compile(r"[^\w\-. /]")  # by MLflow in names of metrics


def log_result(result: Outcome | Audit | Gate) -> None:
    """Log a result to the active run, or to a new one.

    - Metrics: gaps and performance with the limits of their intervals, such as ``fairfix/sex/spd``,
      ``fairfix/sex/spd_low`` and ``fairfix/accuracy``; those of an outcome are of the debiased
      model, those of a gate the figures of its demands. Undefined figures are left out.
    - Tag: ``fairfix.verdict``, the ending of a gate ("passed", "violated" or "inconclusive"), or
      the verdict on the budget of an outcome or an audit.
    - Artifacts: the page and the document, such as ``fairfix/gate.html`` and ``fairfix/gate.json``.

    Args:
        result: of ``fairfix.debias``, ``fairfix.audit`` or ``fairfix.gate``.
    """
    kind = "report" if isinstance(result, Outcome) else type(result).__name__.lower()
    document = document_of(result)
    mlflow.log_metrics(dict(_metrics(result.to_frame())))
    mlflow.set_tag(f"{FOLDER}.verdict", _verdict(result, document))
    mlflow.log_text(page_of(result), f"{FOLDER}/{kind}.html")
    mlflow.log_dict(document, f"{FOLDER}/{kind}.json")


def _metrics(frame: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """Yield the figures of all rows together and of gaps, by name."""
    if "model" in frame:
        frame = frame[frame["model"] == "debiased"]
    for row in frame[frame["group"].isna()].to_dict("records"):
        parts = [FOLDER, *([] if pd.isna(row["column"]) else [row["column"]]), row["measure"]]
        name = _REFUSED.sub("_", "/".join(map(str, parts)))
        for key, end in (("value", ""), ("low", "_low"), ("high", "_high")):
            if not pd.isna(row[key]):
                yield f"{name}{end}", float(row[key])


def _verdict(result: Outcome | Audit | Gate, document: dict[str, object]) -> str:
    if isinstance(result, Gate):
        return str(document["ending"])
    if isinstance(result, Audit):
        return str(result.groups[0].claim.verdict)
    return str(result.evidence.claim.verdict)
