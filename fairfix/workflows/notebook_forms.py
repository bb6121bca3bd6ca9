"""Forms of a result for notebooks: dictionary, table, plots and page."""

from __future__ import annotations

from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

HEIGHT = 720


class NotebookForms:
    """A result that notebooks can show; base of Outcome, Audit and Gate."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document: the report of an outcome, an audit, or a gate."""
        found: dict[str, Any] = _forms().document_of(self)
        return found

    def to_frame(self) -> pd.DataFrame:
        """Return the figures, one a row: column, group, measure, value, low, high and n.

        That of an outcome begins with the model: unmodified, retuned or debiased. That of a gate
        ends with demand, limit and verdict.
        """
        frame: pd.DataFrame = _forms().frame_of(self)
        return frame

    def plot(self, kind: str = "gaps", axes: Axes | None = None) -> Axes:
        """Draw on matplotlib axes, and return them.

        Args:
            kind: "gaps", "rates", "roc", "scores", "calibration" or "tradeoff"; a gate has "gaps"
                alone.
            axes: where to draw; by default new ones.

        Raises:
            UsageError: for another kind, or without matplotlib.
        """
        drawn: Axes = _forms().plot_of(self, kind, axes)
        return drawn

    def _repr_html_(self) -> str:
        """Return the page in a frame, without access to the notebook."""
        page = escape(_forms().page_of(self), quote=True)
        return (
            f'<iframe srcdoc="{page}" sandbox="allow-scripts" title="fairfix" '
            f'style="width:100%;height:{HEIGHT}px;border:0"></iframe>'
        )


def _forms() -> Any:
    """Return the module that makes the forms; it needs the classes that have them."""
    return import_module("fairfix.workflows.forms_of_results")
