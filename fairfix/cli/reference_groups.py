"""Terminal table of the gaps of every other group to the reference group."""

from __future__ import annotations

from rich.table import Table

from fairfix.cli.console import build_table
from fairfix.report.markdown import plain_figure
from fairfix.report.reference_table import ReferenceTable


def reference_groups(pairs: ReferenceTable) -> Table:
    """Return the gaps of the last model of a table."""
    return build_table(
        f"{pairs.title}, simultaneous intervals",
        ["group", "rows", "gap"],
        [[name, rows, plain_figure(figures[-1])] for name, rows, figures in pairs.rows],
    )
