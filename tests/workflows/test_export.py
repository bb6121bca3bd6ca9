"""Network and cuts as one program: cut at 0.5, it decides as the rule, and needs no fairfix."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import fairfix as library
from fairfix.errors import CheckpointError, OutputError, UsageError, VerificationError
from fairfix.models.checkpoint import program_export as program
from fairfix.models.scorer import Output, Scorer
from fairfix.workflows.case import Case
from fairfix.workflows.debias import Outcome
from fairfix.workflows.export import EDGE, ThresholdedNetwork, group_inputs
from tests.helpers import zoo
from tests.helpers.runs import Draw, Place, Run
from tests.helpers.score_models import score_model

ROWS = 300
CODES = torch.tensor([-1.5, 0.6, 0.61])  # of three groups, as input 2 of the zoo's networks
BY_NUMPY: dict[Output, Callable[[np.ndarray], np.ndarray]] = {
    Output.PROB: lambda raw: raw.reshape(-1) > 0.5,
    Output.LOGIT: lambda raw: raw.reshape(-1) > 0,
    Output.PROBS: lambda raw: raw[:, 1] > 0.5,
    Output.LOGITS: lambda raw: raw.argmax(1) == 1,
}
KINDS = ["modules", "one probability", "two logits", "two probabilities"]


def rows() -> tuple[Tensor, Tensor]:
    """Features of which input 2 tells the group, and the groups."""
    features, groups = zoo.features(ROWS), torch.arange(ROWS) % 3
    features[:, 2] = CODES[groups]
    return features, groups


def quantiles(scores: Tensor, groups: Tensor) -> list[float]:
    """A cut of each group that is the score of one of its rows: the row must not pass it."""
    return [float(scores[groups == g].sort().values[20 + 30 * g]) for g in range(3)]


def of_groups(scorer: Scorer, cuts: list[float]) -> ThresholdedNetwork:
    return ThresholdedNetwork(scorer.requires_grad_(False), (2,), CODES[:, None], cuts).eval()


# What the program computes.


@pytest.mark.parametrize("complement", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_a_cut_at_one_half_is_right_for_every_group(name: str, complement: bool) -> None:
    scorer = zoo.scorer(name)
    scorer.complement = complement
    features, groups = rows()
    scores = scorer.score(features)
    cuts = quantiles(scores, groups)
    expected = scores.numpy() > np.array(cuts, np.float32)[groups.numpy()]
    assert 0 < expected.sum() < ROWS
    raw = of_groups(scorer, cuts)(features)
    assert raw.shape == scorer.network(features).shape
    assert (BY_NUMPY[scorer.output](raw.numpy()) == (expected ^ complement)).all()
    probability = torch.sigmoid(raw) if scorer.output is Output.LOGIT else raw
    assert not (probability == 0.5).any()  # whoever cuts by >= decides alike


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
@pytest.mark.parametrize("complement", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_the_score_of_a_score_model_takes_the_place_of_the_networks(
    name: str, complement: bool, suffix: str, tmp_path: Path
) -> None:
    """It is part of the program, and rows are decided as the rule does."""
    scorer = zoo.scorer(name)
    scorer.complement = complement
    features, groups = rows()
    scores = scorer.score(features)
    model = score_model("repair with score", zoo.WIDTH, (0, 2))
    modeled = model.apply(features, scores).score
    cuts = [float(modeled[groups == g].sort().values[20 + 30 * g]) for g in range(3)]
    expected = modeled.numpy() > np.array(cuts)[groups.numpy()]
    assert 0 < expected.sum() < ROWS
    scorer.requires_grad_(False)
    network = ThresholdedNetwork(scorer, (2,), CODES[:, None], cuts, model).eval()
    path = tmp_path / f"program{suffix}"
    program.save_program(network, [features[:16]], path)
    loaded = program.load_program(path)
    raw = loaded(features)
    assert raw.shape == scorer.network(features).shape
    assert (BY_NUMPY[scorer.output](raw.numpy()) == (expected ^ complement)).all()
    features[:3, 1] = torch.nan  # which the trees do not read
    assert loaded(features).isnan().flatten(1).any(1).tolist() == [True] * 3 + [False] * (ROWS - 3)


def test_the_logit_moves_by_the_logit_of_the_cut() -> None:
    scorer = zoo.scorer("modules")
    features, groups = rows()
    before = scorer.network(features).detach().double().numpy()[:, 0]
    after = of_groups(scorer, [0.2, 0.5, 0.9])(features).double().numpy()[:, 0]
    moved = np.array([np.log(0.2 / 0.8), 0.0, np.log(0.9 / 0.1)])[groups.numpy()]
    np.testing.assert_allclose(after, before - moved, atol=2 * EDGE)


@pytest.mark.parametrize(("cut", "positive"), [(-1.0, True), (1.0, False)])
def test_cuts_that_decide_a_group_alike(cut: float, positive: bool) -> None:
    scorer = zoo.scorer("one probability")
    features, groups = rows()
    found = of_groups(scorer, [cut, 0.5, 0.5])(features)[groups == 0] > 0.5
    assert (found == positive).all()


def test_an_unknown_value_is_read_as_the_nearest() -> None:
    features, _ = rows()
    module = of_groups(zoo.scorer("modules"), [-1.0, 1.0, 0.5])
    features[:, 2] = -40.0
    assert (module(features) > 0).all()
    features[:, 2] = 0.602
    assert (module(features) < 0).all()


def test_a_row_without_a_group_is_not_decided_as_one_of_a_group() -> None:
    features, _ = rows()
    scorer = zoo.scorer("modules")
    scorer.network = nn.Sequential(FillMissing(), scorer.network)
    module = of_groups(scorer, [-1.0, -1.0, -1.0])
    features[4:, 2] = torch.nan
    assert module(features).isnan().flatten().tolist() == [False] * 4 + [True] * (ROWS - 4)


class FillMissing(nn.Module):
    """Missing inputs become 0, so that a network gives a score."""

    def forward(self, features: Tensor) -> Tensor:
        return features.nan_to_num(0.0)


@pytest.mark.parametrize("suffix", program.PROGRAM_KINDS)
@pytest.mark.parametrize(
    ("name", "form"),
    [*((name, "as written") for name in [*KINDS, "conv2d", "residual with BatchNorm"]),
     ("depthwise", "as layers")],
)  # fmt: skip
def test_a_program_is_the_module(tmp_path: Path, name: str, form: str, suffix: str) -> None:
    features, groups = rows()
    scorer = zoo.scorer(name, form)
    module = of_groups(scorer, quantiles(scorer.score(features), groups))
    path = tmp_path / f"cut{suffix}"
    program.save_program(module, [features[:4]], path)
    run = program.load_program(path)
    for count in (1, 7, ROWS):
        torch.testing.assert_close(run(features[:count]), module(features[:count]))


# From the command line.


@pytest.fixture
def aware(place: Place, trained: nn.Sequential) -> Place:
    """A network that has the group, standardized and called group_1, among its inputs."""
    first, *others = trained
    wider = nn.Linear(5, 12)
    wider.load_state_dict({
        "weight": torch.cat([first.weight, torch.full((12, 1), 0.1)], 1),  # type: ignore[list-item]
        "bias": first.bias,
    })  # fmt: skip
    torch.save(nn.Sequential(wider, *others).eval(), place.model)
    for path in (place.val, place.test):
        frame = pd.read_csv(path)
        place.table(frame.assign(group_1=(frame["group"] - 0.52) / 0.4996), path.name)
    return place


def decided(place: Place, table: Path, favorable: int = 1) -> np.ndarray:
    """Decisions by the checkpoint and the rule, as ``fairfix predict`` gives them."""
    found = library.predict(place.folder / "model.debiased.pt", table, favorable=favorable)
    return np.asarray(found.decisions).astype(bool)


ALONE = """
import sys
sys.modules["fairfix"] = None  # cannot be imported
import torch
path, rows, out = sys.argv[1:]
read = torch.jit.load if path.endswith(".pt") else lambda p: torch.export.load(p).module()
torch.save((read(path)(torch.load(rows))[:, 0] > 0).tolist(), out)
"""


@pytest.mark.parametrize(
    ("method", "suffix"),
    [("thresholds", ".pt"), ("thresholds", ".pt2"), ("roc", ".pt"), ("prune", ".pt2")],
)
def test_the_file_decides_as_the_rule_without_fairfix(
    fairfix: Run, aware: Place, method: str, suffix: str
) -> None:
    path = aware.folder / f"one{suffix}"
    options = ["--test", aware.test, "--budget", 0.1, "--export", path]
    ended = fairfix(method, aware.model, aware.val, *options)
    assert ended.code == 0, ended.err
    assert ended.out.endswith(f"wrote {path}\n")
    reads = "the exported network reads the group from 'group_1': '0' at -1.04083, '1' at 0.960769"
    assert (reads in ended.err) == (method != "prune")
    inputs, out = aware.folder / "rows.bin", aware.folder / "out.bin"
    frame = pd.read_csv(aware.test)
    torch.save(torch.tensor(frame.filter(regex="^x|_1$").to_numpy(np.float32)), inputs)
    subprocess.run([sys.executable, "-c", ALONE, path, inputs, out], check=True, timeout=60)
    decisions = torch.load(out)
    assert decisions == decided(aware, aware.test).tolist()
    assert 0 < sum(decisions) < len(decisions)


@pytest.mark.parametrize(
    ("options", "favorable"), [(["--fold-threshold"], 1), (["--favorable", 0], 0)]
)
def test_a_folded_threshold_and_an_unfavorable_output(
    fairfix: Run, aware: Place, options: list[object], favorable: int
) -> None:
    path = aware.folder / "one.pt"
    words = ("identity", aware.model, aware.val, "--allow-trivial", *options)
    assert fairfix(*words, "--export", path).code == 0
    inputs = pd.read_csv(aware.test).filter(regex="^x|_1$").to_numpy(np.float32)
    raw = program.load_program(path)(torch.from_numpy(inputs))[:, 0]
    positive = raw > 0 if favorable else raw < 0
    assert positive.tolist() == decided(aware, aware.test, favorable).tolist()
    words = ("predict", path, aware.test, "--trust-checkpoint", "--favorable", favorable)
    again = fairfix(*words, "--output", "-")
    assert again.code == 0, again.err
    assert [line[-1] == "1" for line in again.out.split()[1:]] == positive.tolist()


# Which inputs tell the group.


def case_of(place: Place, frame: pd.DataFrame, **options: object) -> Case:
    """A case whose network takes all features there are."""
    features = options.get("features")
    width = len(features) if isinstance(features, list) else frame.shape[1] - 2
    torch.save(nn.Sequential(nn.Linear(width, 1)), place.model)
    made: Case = library.load(place.model, place.table(frame), **options)
    return made


def inputs_of(case: Case) -> tuple[list[str], list[list[float]]]:
    columns, values = group_inputs(case)
    return [case.table.feature_names[place] for place in columns], values.tolist()


def test_the_group_column_itself(place: Place, draw: Draw) -> None:
    case = case_of(place, draw(200, 1), features=["x0", "group"])
    assert inputs_of(case) == (["group"], [[0.0], [1.0]])


def test_dummies_called_after_the_values(place: Place, draw: Draw) -> None:
    frame = draw(200, 1)
    names = np.array(["a", "b", "c"])[np.arange(200) % 3]
    dummies = pd.get_dummies(pd.Series(names, name="group"), prefix="group", dtype=float)
    case = case_of(place, pd.concat([frame.assign(group=names), dummies], axis=1))
    names_found, values = inputs_of(case)
    assert names_found == ["group_a", "group_b", "group_c"]
    assert values == torch.eye(3).tolist()


def test_one_hot_of_a_data_spec(place: Place, draw: Draw) -> None:
    names = np.array(["a", "b", "c"])[np.arange(200) % 3]
    spec = place.folder / "model.data.json"
    spec.write_text(
        '{"features": [{"column": "x0"}, {"column": "group", "categories": ["a", "b", "c"], '
        '"drop_first": true, "mean": [1, 0], "scale": [2, 1]}]}'
    )
    torch.save(nn.Sequential(nn.Linear(3, 1)), place.model)
    case = library.load(place.model, place.table(draw(200, 1).assign(group=names)))
    names_found, values = inputs_of(case)
    assert names_found == ["group=b", "group=c"]
    assert values == [[-0.5, 0], [0, 0], [-0.5, 1]]


def refusal(case: Case) -> str:
    with pytest.raises(UsageError) as caught:
        group_inputs(case)
    return str(caught.value)


def test_two_groups_with_one_code_cannot_be_told_apart(place: Place, draw: Draw) -> None:
    names = np.array(["a", "b", "c"])[np.arange(200) % 3]
    code = (names == "c") * 1.0
    said = refusal(case_of(place, draw(200, 1).assign(group=names, group_c=code)))
    assert said == (
        "Group thresholds can be exported only if the group is an input of the network, and no "
        "input of that name separates the groups of 'group'; name that column in --features if it "
        "is one."
    )


def test_an_input_that_fails_on_one_row_does_not_tell_the_group(place: Place, draw: Draw) -> None:
    frame = draw(200, 1)
    assert refusal(
        case_of(
            place, frame.assign(group=frame["group"].where(frame.index != 7, 2)), features=["x0"]
        )
    ).endswith("name that column in --features if it is one.")


def test_an_input_of_another_name_is_never_taken_for_the_group(place: Place, draw: Draw) -> None:
    frame = draw(200, 1)
    case = case_of(place, frame.assign(p0=frame["group"] * 0.25))
    assert refusal(case).endswith(
        "if 'p0', which has one value in each group, is that column, name it with --group and in "
        "--features."
    )
    named = case_of(
        place, frame.assign(p0=frame["group"] * 0.25), group="p0", features=["x0", "p0"]
    )
    assert inputs_of(named) == (["p0"], [[0.0], [0.25]])


# Refusals.


def refused(fairfix: Run, place: Place, *words: object) -> str:
    before = place.files()
    ended = fairfix(*words)
    assert (ended.code, place.files()) == (2, before), ended
    return ended.sentence


def test_scores_without_a_model(fairfix: Run, place: Place, draw: Draw) -> None:
    table = place.table(draw(300, 4).assign(p=0.5))
    words = ["thresholds", "-", table, "--score", "p", "--export", place.folder / "one.pt"]
    said = refused(fairfix, place, *words)
    assert said == "Scores without a model cannot be exported; give a model."


def test_another_suffix_is_refused_before_anything_is_read(fairfix: Run, place: Place) -> None:
    words = ["thresholds", "no.pt", "no.csv", "--export", "one.onnx"]
    said = refused(fairfix, place, *words)
    assert said == (
        "The export must be a file named .pt (TorchScript) or .pt2 (torch.export), not 'one.onnx'."
    )


def test_a_network_that_does_not_know_the_group(fairfix: Run, place: Place) -> None:
    words = ["thresholds", place.model, place.val, "--export", place.folder / "one.pt"]
    assert "no input of that name separates the groups of 'group'" in refused(
        fairfix, place, *words
    )


def test_a_lottery(fairfix: Run, aware: Place) -> None:
    words = ["eqodds", aware.model, aware.val, "--export", aware.folder / "one.pt"]
    assert refused(fairfix, aware, *words).startswith("Randomized thresholds cannot be exported")


def test_two_files_in_one_place(fairfix: Run, aware: Place) -> None:
    path = aware.folder / "one.pt"
    words = ["identity", aware.model, aware.val, "--export", path, "-o", path]
    assert refused(fairfix, aware, *words).endswith(
        "is named by --export and by -o; give two files."
    )


@pytest.fixture
def outcome(aware: Place) -> Outcome:
    made: Outcome = library.debias(library.load(aware.model, aware.val), "thresholds")
    return made


def test_never_over_an_input_and_over_others_by_force(outcome: Outcome, aware: Place) -> None:
    path = aware.folder / "deep" / "one.pt"
    path.parent.mkdir()
    path.write_text("mine")
    for target, said in (
        (path, r"exists; choose another path \(export\)"),
        (aware.model, "is an input and is never"),
    ):
        before = aware.files()
        with pytest.raises(OutputError, match=said):
            library.save(outcome, export=target)
        assert aware.files() == before
    assert library.save(outcome, export=path, force=True).export == path
    assert path.read_bytes() != b"mine"
    assert not list(aware.folder.rglob(".fairfix-*"))


def test_a_program_that_decides_otherwise_is_not_written(
    outcome: Outcome, aware: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(path: Path) -> Callable[[Tensor], Tensor]:
        return lambda rows: program.load_program(path)(rows) - 0.4

    monkeypatch.setattr("fairfix.workflows.export.load_program", shifted)
    before = aware.files()
    with pytest.raises(VerificationError, match=r"decides [1-9]\d* of \d+ rows otherwise than"):
        library.save(outcome, export=aware.folder / "one.pt")
    assert aware.files() == before


class Untraceable(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        rows = super().forward(x)
        return rows if len(rows.tolist()) > 0 and float(rows.sum()) < 1e9 else rows + 1


def test_a_network_that_cannot_be_recorded(tmp_path: Path) -> None:
    scorer = Scorer(Untraceable(zoo.WIDTH, 1), Output.LOGIT)
    said = r"^The network cannot be exported as torch.export: .*Try a file that ends in \.pt\.$"
    with pytest.raises(CheckpointError, match=said):
        program.save_program(of_groups(scorer, [0.5] * 3), [zoo.features(4)], tmp_path / "a.pt2")


class Attention(nn.Module):
    """An attention layer over the inputs as tokens; ``count`` is how forward finds the rows."""

    def __init__(self, count: Callable[[Tensor], int]) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(1, 1, 4))
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.out = nn.Linear(4, 1)
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.start.expand(self.count(x), 1, 4), x.view(-1, 4, 4)], 1)
        return self.out(self.layer(tokens)[:, 0])


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_an_attention_network_is_exported_for_any_number_of_rows(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"x{suffix}"
    module = Attention(lambda x: x.shape[0]).eval().requires_grad_(False)
    program.save_program(module, [zoo.features(16)], path)
    for n in (1, 7, 40):
        found = program.load_program(path)(zoo.features(n))
        assert torch.allclose(found, module(zoo.features(n)), atol=1e-5)


def test_rows_that_are_fixed_by_tracing_are_refused(tmp_path: Path) -> None:
    module = Attention(len).eval().requires_grad_(False)
    with pytest.raises(CheckpointError, match=r"other numbers of rows, as with len\(x\)"):
        program.save_program(module, [zoo.features(16)], tmp_path / "x.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_a_squeezed_output_has_one_entry_a_row(tmp_path: Path, suffix: str, outputs: int) -> None:
    layers = nn.Linear(zoo.WIDTH, outputs), nn.Flatten(0) if outputs == 1 else nn.Identity()
    kind = Output.LOGIT if outputs == 1 else Output.LOGITS
    scorer = Scorer(nn.Sequential(*layers).eval(), kind)
    module = ThresholdedNetwork(scorer.requires_grad_(False), (), torch.zeros(1, 0), (0.4,)).eval()
    program.save_program(module, [zoo.features(16)], tmp_path / f"x{suffix}")
    loaded = program.load_program(tmp_path / f"x{suffix}")
    for n in (1, 5):
        decided = scorer.read(loaded(zoo.features(n))) > 0.5
        assert torch.equal(decided, scorer.score(zoo.features(n)) > 0.4)


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_a_rule_with_a_score_model_is_exported(place: Place, suffix: str) -> None:
    """The file is verified against the rule on all rows before it is kept."""
    case = library.load(place.model, place.val)
    outcome = library.debias(case, "blind", budget=0.1, test=place.test)
    path = library.export(outcome, place.folder / f"program{suffix}")
    features = outcome.test_rows.problem.features
    assert features is not None
    raw = program.load_program(path)(features)
    decided = BY_NUMPY[Output.LOGIT](raw.numpy())
    assert (decided == outcome.test_rows.debiased.numpy()).all()
