"""The documents that other commands than audit, gate and the methods print with ``--json``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from fairfix._utils.strict_json import StrictModel
from fairfix.report.schema.shared import Budget, Count, Key, Rule, Sha256, Verdict

Shape = tuple[Count, ...]
Cells = dict[str, str | bool | int | float | None]


class Document(StrictModel):
    """What every document has."""

    schema_version: Literal[1] = Field(description="Version of this document.")


class Doctor(Document):
    """The document of ``fairfix doctor --json``."""

    executable: str = Field(description="The Python in use.")
    versions: dict[str, str | None] = Field(description="Version by package; null if absent.")
    torch: TorchBuild = Field(description="The build of torch.")
    extras: dict[str, Extra] = Field(description="Extras of the package by name.")


class TorchBuild(StrictModel):
    """The build of torch and the devices it finds."""

    build: str | None = Field(description="CPU, CUDA or ROCm with its version; null if absent.")
    devices: tuple[str, ...] = Field(description="Devices that networks can run on.")
    threads: Count | None = Field(description="CPU threads of torch; null if it is absent.")
    cores: Count | None = Field(description="CPU cores; null if unknown.")


class Extra(StrictModel):
    """An extra of the package."""

    installed: bool = Field(description="Whether all its packages are.")
    packages: dict[str, str | None] = Field(description="Version by package; null if absent.")


class Validation(Document):
    """The document of ``fairfix validate --json``."""

    valid: bool = Field(description="Whether every file is valid.")
    files: tuple[ValidatedFile, ...] = Field(description="The files in their order.")


class ValidatedFile(StrictModel):
    """A file that was checked."""

    file: str = Field(description="The file as it was named.")
    problem: str | None = Field(description="What is wrong and the remedy; null if valid.")


class Init(Document):
    """The document of ``fairfix init --json``."""

    settings: dict[str, Any] = Field(description="The options written to fairfix.toml, by name.")
    written: tuple[str, ...] = Field(description="The files that were written.")
    next: tuple[str, ...] = Field(description="Command lines to run next.")


class Predict(Document):
    """The document of ``fairfix predict --json``."""

    rows: Count = Field(description="Rows of the table.")
    positive: Count | dict[str, Count] = Field(
        description="Positive decisions; by label for a network with several labels."
    )
    written: str = Field(description="The file with the decisions.")


class Inspect(Document):
    """The document of ``fairfix inspect --json``."""

    file: str = Field(description="Name of the checkpoint.")
    format: str = Field(description="Its format.")
    title: str = Field(description="The format in words.")
    weights_sha256: Sha256 | None = Field(
        description="SHA-256 of the weights; null without the architecture."
    )
    parameters: Count = Field(description="Numbers in the floating-point tensors.")
    architecture_known: bool = Field(description="Whether the network can be built.")
    inputs: Count | dict[str, Shape] | None = Field(
        description="Numbers per row, or the shape per row by input; null if unknown."
    )
    output: str | None = Field(description="How the output is read; null if unknown.")
    prunable_units: dict[str, Count] | None = Field(
        description="Prunable units by layer; null if unknown."
    )
    rule: Rule | None = Field(description="The decision rule; null if there is none.")
    metadata: dict[str, Any] = Field(description="Metadata of the file.")
    unknown: dict[str, str] = Field(description="Why a key above is null, by key.")
    tensors: tuple[Tensor, ...] = Field(description="The tensors in the order of the file.")
    on_rows: OnRows | None = Field(
        default=None, description="What the network does on rows of a table, where one is named."
    )


class Tensor(StrictModel):
    """A tensor of a checkpoint, or an input of a network."""

    name: str = Field(description="Its name.")
    shape: Shape = Field(description="Its shape.")
    dtype: str = Field(description="Its type, as torch names it.")


class OnRows(StrictModel):
    """A network on the first rows of a table; shapes begin with the number of rows."""

    rows: Count = Field(description="Number of rows.")
    inputs: tuple[Tensor, ...] = Field(description="The inputs of the network.")
    modules: tuple[Module, ...] = Field(description="The modules in the order they run.")
    prunable_units: dict[str, Count] = Field(description="Prunable units by layer.")
    outputs: tuple[Output, ...] = Field(description="The outputs of the network.")
    output: str = Field(description="How the output with the scores is read.")
    classes: tuple[str, ...] | None = Field(
        description="Label values of the outputs; null with one output."
    )


class Module(StrictModel):
    """A module of a network that ran."""

    name: str = Field(description="Its name.")
    type: str = Field(description="Its class.")
    shapes: tuple[Shape, ...] = Field(description="Shapes of its outputs.")
    parameters: Count = Field(description="Numbers in its own parameters.")


class Output(Tensor):
    """An output of a network."""

    scores: bool = Field(description="Whether the scores are read from it.")


class DataList(Document):
    """The document of ``fairfix data list --json``."""

    datasets: tuple[DataSet, ...] = Field(description="The data sets.")


class DataSet(StrictModel):
    """A public data set."""

    name: str = Field(description="Its name on the command line.")
    title: str = Field(description="Its full name.")
    attributes: tuple[str, ...] = Field(description="Its protected attributes.")
    terms: str = Field(description="Origin and terms of use.")
    on_this_machine: bool = Field(description="Whether its files are here.")


class DataFetch(Document):
    """The document of ``fairfix data fetch --json``."""

    name: str = Field(description="The data set.")
    files: tuple[DataFile, ...] = Field(description="Its files.")


class DataFile(StrictModel):
    """A downloaded file."""

    file: str = Field(description="Its path.")
    sha256: Sha256 = Field(description="Its SHA-256.")
    checked: bool = Field(description="Whether that was compared with a published hash.")


class DataPrepare(Document):
    """The document of ``fairfix data prepare --json``."""

    name: str = Field(description="The data set.")
    attribute: str = Field(description="The protected attribute.")
    privileged: str = Field(description="Name of the privileged group.")
    unprivileged: str = Field(description="Name of the unprivileged group.")
    rows: dict[str, Count] = Field(description="Rows by part.")
    files: tuple[str, ...] = Field(description="The files that were written.")


class Bench(Document):
    """The document of ``fairfix bench --json``; lists hold the rows of the CSV files."""

    cells: Count = Field(description="Runs of a method on a split.")
    without_result: tuple[Cells, ...] = Field(
        description="What was refused or failed, each reason once."
    )
    summary: tuple[Cells, ...] = Field(description="Figures by task and method.")
    networks: tuple[Cells, ...] = Field(description="Figures by base network.")
    attribution: tuple[Cells, ...] = Field(description="Attributions of gaps to weights.")


class EachLabel(Document):
    """The document of ``fairfix audit --json`` or ``gate --json`` for several labels."""

    labels: dict[str, dict[str, Any]] = Field(
        description="By label, the document of an audit (schema.json) or a gate (gate.schema.json)."
    )


class DebiasedLabels(Document):
    """The document that a method prints with ``--json`` for several labels."""

    method: str = Field(description="The method.")
    metric: Key = Field(description="Key of the metric.")
    budget: Budget = Field(description="Largest allowed absolute gap.")
    performance: Key = Field(description="Key of the performance measure.")
    labels: dict[str, DebiasedLabel] = Field(description="Figures on test rows by label.")
    mean: dict[str, LabelFigures] = Field(description="Means over the labels.")
    worst: dict[str, LabelFigures] = Field(description="The worst over the labels.")
    reports: dict[str, dict[str, Any]] = Field(description="By label, the report (schema.json).")


class DebiasedLabel(StrictModel):
    """Figures of one label on its test rows."""

    threshold: float | None = Field(description="The shared threshold; null if by group.")
    thresholds: dict[str, float] | None = Field(description="Thresholds by group; null if shared.")
    rows: Count = Field(description="Test rows with this label.")
    unmodified: LabelFigures = Field(description="Figures of the unmodified model.")
    debiased: LabelFigures = Field(description="Figures of the debiased model.")
    verdict: Verdict = Field(description="The verdict on the budget.")


class LabelFigures(StrictModel):
    """Gap, performance and objective; null if undefined."""

    gap: float | None = Field(default=None, description="The signed gap; absent over labels.")
    size: float | None = Field(description="The gap without sign.")
    performance: float | None = Field(description="The performance.")
    objective: float | None = Field(description="The objective.")


COMMANDS = (
    *(Doctor, Validation, Init, Predict, Inspect, DataList, DataFetch, DataPrepare, Bench),
    *(EachLabel, DebiasedLabels),
)
"""The models of whole documents."""
