"""Export network, score model and thresholds as one program with the threshold 0.5 for every row.

Group thresholds need no new input if the group is among the network's inputs: the program reads the
group there and shifts the logit so that the group's threshold becomes 0.5.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from fairfix._utils.atomic_write import check_destination, staged
from fairfix.data.problem import Problem
from fairfix.errors import UsageError, VerificationError
from fairfix.models.checkpoint.program_export import PROGRAM_KINDS, load_program, save_program
from fairfix.models.inputs import Batch, Inputs
from fairfix.models.score_model import ScoreModel
from fairfix.models.scorer import Output, Scorer, in_row_order
from fairfix.workflows.case import Case
from fairfix.workflows.outcome import Outcome

EDGE = 1e-6  # smallest absolute logit: float32 still separates its probability from 0.5


class ThresholdedNetwork(nn.Module):
    """A network and its thresholds as one network with the same inputs, by position.

    It has the same kind and shape of output, and a score above 0.5 is the positive decision. The
    logit is shifted by the logit of the threshold of the row's group. The side of 0.5 is set by
    comparing the score with the threshold, as the rule does, so that rounding changes no decision
    and no output is exactly 0.5. The mean of two logits becomes 0. A score model's score takes the
    place of the network's. The output is NaN where the network's is, which rules refuse, and where
    the group is.

    Attributes:
        columns: (C,) the inputs that hold the group; empty for a shared threshold.
        values: (G, C) their values in each group; other values are read as the nearest.
        thresholds: (G,) the threshold of each group.
        score_model: of the rule, if it has one.
        names: of the inputs, where the network takes them by name.
    """

    columns: Tensor
    values: Tensor
    thresholds: Tensor
    shifts: Tensor

    def __init__(
        self,
        scorer: Scorer,
        columns: Sequence[int],
        values: Tensor,
        thresholds: Sequence[float],
        score_model: ScoreModel | None = None,
        names: Sequence[str] = (),
        as_mapping: bool = False,
    ) -> None:
        super().__init__()
        self.names, self.as_mapping = tuple(names), as_mapping
        self.scorer = scorer
        self.score_model = score_model
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64))
        self.register_buffer("values", values)
        exact = torch.float32 if score_model is None else torch.float64
        self.register_buffer("thresholds", torch.tensor(thresholds, dtype=exact))
        self.register_buffer("shifts", self.thresholds.logit(EDGE))  # beyond 0 or 1: 14

    def forward(self, features: Tensor, *further: Tensor) -> Tensor:
        output, complement = self.scorer.output, self.scorer.complement
        inputs = (features, *further)
        batch = Batch(inputs)
        if self.names:
            named = dict(zip(self.names, inputs, strict=True))
            batch = Batch(kwargs=named, as_mapping=self.as_mapping)
        raw = self.scorer.raw(batch)
        columns = (2,) if output.is_two else (1,) * (raw.dim() - 1)
        raw = raw.reshape(features.shape[0], *columns)  # a single row may have been squeezed
        group, missing = self._group(features)
        score = self.scorer.read(raw).float()
        missing = missing | score.isnan()
        shift = self.shifts[group]
        if self.score_model is None:
            logit = _logit(raw, output) + (shift if complement else -shift)
        else:
            score, _ = self.score_model.evaluate(features, score)
            favorable = score.logit(EDGE) - shift
            logit = (-favorable if complement else favorable).to(raw.dtype)
        positive = score > self.thresholds[group]
        above = ~positive if complement else positive
        logit = torch.where(above, logit.clamp(min=EDGE), logit.clamp(max=-EDGE))
        logit = logit.masked_fill(missing, math.nan)
        return _output(logit, output).reshape(raw.shape)

    def _group(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The group of each row, (N,): that whose values are nearest; and whether one is NaN."""
        if len(self.columns) == 0:
            none = torch.zeros(features.shape[:1], dtype=torch.int64, device=features.device)
            return none, none.bool()
        found = features.index_select(1, self.columns)
        distances = (found.unsqueeze(1) - self.values).square().sum(2)
        return distances.argmin(1), found.isnan().any(1)


def _logit(raw: Tensor, output: Output) -> Tensor:
    match output:
        case Output.PROB:
            return raw.reshape(-1).logit()
        case Output.LOGIT:
            return raw.reshape(-1)
        case Output.PROBS:
            return raw[:, 1].logit()
        case Output.LOGITS:
            return raw[:, 1] - raw[:, 0]


def _output(logit: Tensor, output: Output) -> Tensor:
    """The inverse of ``_logit``."""
    match output:
        case Output.PROB:
            return logit.sigmoid()
        case Output.LOGIT:
            return logit
        case Output.PROBS:
            return torch.stack([1 - logit.sigmoid(), logit.sigmoid()], 1)
        case Output.LOGITS:
            return torch.stack([-logit / 2, logit / 2], 1)


def check_suffix(path: Path) -> None:
    """Raise UsageError for an unsupported file extension."""
    if path.suffix not in PROGRAM_KINDS:
        known = " or ".join(f"{suffix} ({kind})" for suffix, kind in PROGRAM_KINDS.items())
        raise UsageError(f"The export must be a file named {known}, not {path.name!r}.")


def check_export(
    case: Case, needs_group: bool, test: Case | None = None, *, scored: bool = False
) -> tuple[str, ...]:
    """Check that a result can be exported.

    Args:
        needs_group: whether the thresholds depend on the group.
        scored: whether the rule has a score model.

    Returns:
        Notes on the inputs from which group thresholds will read the group.

    Raises:
        UsageError: without a model, if the thresholds depend on the group and no input holds it, or
            if a score model reads embeddings.
    """
    if case.checkpoint is None:
        raise UsageError("Scores without a model cannot be exported; give a model.")
    if scored and case.problem.features is None:
        raise UsageError(
            "A rule whose score model reads embeddings of the network cannot be exported as one "
            "program; leave out --export, or use finetune, which changes the weights."
        )
    if not needs_group:
        return ()
    columns, values = group_inputs(case, test)
    inputs = ", ".join(repr(case.table.feature_names[place]) for place in columns)
    read = ", ".join(
        f"{name!r} at {' '.join(f'{value:g}' for value in at)}"
        for name, at in zip(case.problem.group_names, values.tolist(), strict=True)
    )
    return (f"the exported network reads the group from {inputs}: {read}, else the nearest",)


def export(outcome: Outcome, path: Path) -> None:
    """Write network and thresholds of an outcome as one program to ``path``, a new file.

    The file is read back, and its decisions at 0.5 are compared with the rule's on all rows of the
    run, on the CPU.

    Raises:
        UsageError: as ``check_suffix`` and ``check_export``, and for randomized thresholds.
        CheckpointError: if the network's operations cannot be traced.
        VerificationError: if the program decides differently.
    """
    check_suffix(path)
    rule = outcome.rule
    scored = rule.score_model is not None
    check_export(outcome.case, rule.needs_group, outcome.test_case, scored=scored)
    if outcome.rule.randomized:
        raise UsageError(
            "Randomized thresholds cannot be exported as one network, because they depend on the "
            "row's id; use a method without randomization."
        )
    scorer = _final(outcome)
    names = outcome.case.problem.group_names
    columns: tuple[int, ...] = ()
    values = torch.zeros(1, 0)
    if outcome.rule.needs_group:
        columns, values = group_inputs(outcome.case, outcome.test_case)
    thresholds = outcome.rule.policy(names).thresholds(1)
    score_model = outcome.rule.score_model
    inputs = _inputs(outcome.case.problem)
    called = inputs.keys if inputs.by_name else ()
    module = ThresholdedNetwork(
        scorer, columns, values, thresholds, score_model, called, inputs.as_mapping
    )
    save_program(module.eval(), inputs.batch(slice(16)).tensors, path)
    _verify(outcome, scorer, path)


def export_file(outcome: Outcome, path: Path, *, force: bool = False) -> Path:
    """Export to ``path`` in one step, never over an input; return the path.

    Raises:
        OutputError: if the file exists (without ``force``) or cannot be written.
        FairfixError: as ``export``.
    """
    case, test = outcome.case, outcome.test_case
    check_suffix(path)
    check_destination(path, [*case.files, *(test.files if test else ())], force=force)
    with staged([path]) as staging:
        export(outcome, staging[path])
    return path


def group_inputs(case: Case, test: Case | None = None) -> tuple[tuple[int, ...], Tensor]:
    """Return the inputs that hold the group, and their values (G, C) in each group, on the CPU.

    These are the inputs named after the group column. Another input that happens to separate the
    groups of these rows is not taken for the group; the message names it.

    Raises:
        UsageError: if there is none on the rows of both cases.
    """
    ranges = [_ranges(each.problem) for each in (case, test) if each is not None]
    lowest = torch.stack([low for low, _ in ranges]).amin(0)
    highest = torch.stack([high for _, high in ranges]).amax(0)
    constant = (lowest == highest).all(0)

    def separates(columns: tuple[int, ...]) -> bool:
        codes = lowest[:, columns]
        return bool(constant[list(columns)].all()) and len(codes.unique(dim=0)) == len(codes)

    own = _own_inputs(case)
    if own and separates(own):
        return own, lowest[:, own]
    column, names = case.columns.groups[0], case.table.feature_names
    like = next((names[place] for place in range(len(names)) if separates((place,))), None)
    hint = (
        "name that column in --features if it is one"
        if like is None
        else (
            f"if {like!r}, which has one value in each group, is that column, name it with --group "
            "and in --features"
        )
    )
    raise UsageError(
        "Group thresholds can be exported only if the group is an input of the network, and no "
        f"input of that name separates the groups of {column!r}; {hint}."
    )


def _ranges(problem: Problem) -> tuple[Tensor, Tensor]:
    """Return the lowest and the highest value of each input in each group, (G, D) each."""
    features, groups = _inputs(problem).flat, problem.groups.cpu()
    if features is None:
        raise UsageError(
            "Group thresholds can be exported only if the group is an input of the network, and "
            "its inputs are not columns of numbers; use a method with one threshold for all."
        )
    within = [features[groups == g] for g in range(problem.n_groups)]
    return torch.stack([x.amin(0) for x in within]), torch.stack([x.amax(0) for x in within])


def _own_inputs(case: Case) -> tuple[int, ...]:
    """Return the inputs named after the group column, or after it and one of its values."""
    column, names = case.columns.groups[0], case.problem.group_names
    own = {column, *(f"{column}{mark}{name}" for mark in "=_" for name in names)}
    return tuple(
        place
        for place, name in enumerate(case.table.feature_names)
        if own & {name, name.rpartition("__")[2]}  # as scikit-learn calls them: "cat__sex_male"
    )


def _inputs(problem: Problem) -> Inputs:
    """Return the inputs on the CPU; texts padded to one length, which a program takes."""
    assert problem.inputs is not None
    return problem.inputs.to(torch.device("cpu")).of_one_length()


def _final(outcome: Outcome) -> Scorer:
    """The network as it is written, on the CPU."""
    scorer = copy.deepcopy(outcome.case.problem.scorer)
    assert scorer is not None
    if outcome.state is not None:
        scorer.network.load_state_dict(outcome.state)
    return scorer.cpu().eval().requires_grad_(False)


def _verify(outcome: Outcome, scorer: Scorer, path: Path) -> None:
    """Compare the decisions of the written program with the rule's, and see that one row runs."""
    program = load_program(path)
    differ = total = 0
    for case in (outcome.case, outcome.test_case):
        if case is None:  # then the rows judged on are among the others
            continue
        problem = case.problem
        inputs = _inputs(problem)
        scores = scorer.score(inputs)
        expected = outcome.rule.decide(
            scores, problem.groups.cpu(), problem.group_names, inputs=inputs, scorer=scorer
        )
        found = in_row_order(
            (rows, _decisions(program(*batch.tensors), scorer))
            for rows, batch in inputs.batches(scorer.batch_size)
        )
        differ += int((found != expected).sum())
        total += len(inputs)
    alone = program(*_inputs(outcome.case.problem).batch(slice(1)).tensors)
    if differ or len(alone) != 1:
        raise VerificationError(
            f"The exported network decides {differ} of {total} rows otherwise than the rule, so "
            "nothing was written."
        )


def _decisions(raw: Tensor, scorer: Scorer) -> Tensor:
    return scorer.read(raw).float() > 0.5
