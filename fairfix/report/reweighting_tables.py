"""Tables of a report on the weights of training rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairfix._utils.text import plain_number


@dataclass(frozen=True)
class Table:
    """A table in words: a caption, a header, and rows of cells.

    Attributes:
        pictures: the image of each row as a data URL, for pages that show images; may be empty.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    pictures: Sequence[str] = ()


def reweighting_tables(report: Mapping[str, Any]) -> Iterator[Table]:
    """Yield the tables on new weights of training rows; none if there are no new weights."""
    training = report.get("training")
    reweighting = training and training["reweighting"]
    if not reweighting:
        return
    matrix = "Hessian" if reweighting["curvature"] == "hessian" else "Gauss-Newton matrix"
    yield Table(
        f"Soft gaps on the validation rows. Influences of {reweighting['parameters']:,} parameters "
        f"by the {matrix} with a damping of {reweighting['damping']:g}; "
        f"{reweighting['clipped']:.1%} of the weights would be negative and are 0, the largest "
        f"factor is {reweighting['largest_factor']:.1f}.",
        ["gap", "before", "predicted", "realized", "residual", "steps"],
        [
            [
                gap["metric"],
                *(plain_number(gap[name]) for name in ("before", "predicted", "realized")),
                f"{gap['residual']:.1g}",
                str(gap["iterations"]),
            ]
            for gap in reweighting["gaps"]
        ],
    )
    yield Table(
        "Share of the total weight of training rows; cells of fewer than 10 rows are left out.",
        ["group", "label", "rows", "before", "after"],
        [
            [
                "all" if cell["group"] is None else cell["group"],
                "favorable" if cell["favorable"] else "unfavorable",
                f"{cell['rows']:,}",
                f"{cell['share_before']:.1%}",
                f"{cell['share_after']:.1%}",
            ]
            for cell in reweighting["cells"]
            if cell["rows"] is not None
        ],
    )
    if reweighting["listed_rows"]:
        yield Table(
            "Training rows weighted up and down most; rows count from 0.",
            ["row", "factor", "values"],
            [
                [
                    str(row["row"]),
                    f"{row['factor']:.2f}",
                    ", ".join(f"{name} = {value}" for name, value in row["values"].items()),
                ]
                for row in reweighting["listed_rows"]
            ],
            [row["picture"] for row in reweighting["listed_rows"] if row["picture"]],
        )
