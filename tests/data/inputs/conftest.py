"""Tables and data specs with inputs of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fairfix.data.inputs import InputOptions
from fairfix.data.spec import InputsSpec
from fairfix.data.table import Columns, Table, read_table

Read = Callable[..., Table]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a table of these columns beside a label and a group, with these inputs."""

    def reading(
        inputs: dict[str, Any],
        columns: dict[str, list[Any]],
        *,
        call: str = "name",
        id: str | None = None,
        **options: Any,
    ) -> Table:
        frame = pd.DataFrame(columns)
        rows = len(frame)
        frame["label"] = ([0, 1] * rows)[:rows]
        frame["group"] = ([0, 0, 1, 1] * rows)[:rows]
        frame.to_csv(tmp_path / "val.csv", index=False)
        spec = InputsSpec.from_json(
            {"version": 2, "call": call, "inputs": inputs}, file="m.data.json", folder=tmp_path
        )
        chosen = InputOptions(cache=tmp_path / "cache", **options)
        return read_table(tmp_path / "val.csv", Columns(id=id), spec=spec, input_options=chosen)

    return reading
