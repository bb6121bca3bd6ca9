"""``fairfix init``: what it proposes, and that the next commands accept what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tests.helpers.runs import Run

CODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.town = nn.Embedding(3, 2)
        self.work = nn.Embedding(4, 2)
        self.head = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, codes, numbers):
        parts = [self.town(codes[:, 0]), self.work(codes[:, 1]), numbers]
        return self.head(torch.cat(parts, dim=1))
"""


def rows(n: int = 1200) -> pd.DataFrame:
    """Raw rows: two numbers, two texts, a protected attribute, and a label that they explain."""
    rng = np.random.default_rng(4)
    town, work = rng.choice(["east", "north", "west"], n), rng.choice(["a", "b", "c", "d"], n)
    age, pay = rng.normal(40, 10, n).round(2), rng.normal(2000, 400, n).round(1)
    sex = rng.choice(["f", "m"], n)
    logit = (age - 40) / 5 + (pay - 2000) / 300 + 2.0 * (town == "west") - 1.5 * (work == "a")
    outcome = logit + (sex == "m") + rng.logistic(size=n) * 0.5 > 0.5
    columns = {"age": age, "town": town, "work": work, "pay": pay, "sex": sex}
    return pd.DataFrame({**columns, "label": outcome.astype(int)})


def encoded(frame: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes of the texts, standardized numbers, and the label."""
    codes = np.column_stack([frame[name].astype("category").cat.codes for name in ("town", "work")])
    numbers = frame[["age", "pay"]]
    scaled = ((numbers - numbers.mean()) / numbers.std(ddof=0)).to_numpy(np.float32)
    label = frame["label"].to_numpy(np.float32)
    return torch.tensor(codes, dtype=torch.int64), torch.tensor(scaled), torch.tensor(label)


def train(network: nn.Module, inputs: tuple[torch.Tensor, ...], label: torch.Tensor) -> nn.Module:
    optimizer = torch.optim.Adam(network.parameters(), 0.03)
    for _ in range(80):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(network(*inputs)[:, 0], label).backward()
        optimizer.step()
    return network.eval().requires_grad_(False)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A folder with a plain network that takes one-hot codes, and its raw table."""
    frame = rows()
    codes, numbers, label = encoded(frame)
    one_hot = [nn.functional.one_hot(codes[:, i]).float() for i in range(2)]
    matrix = torch.cat([numbers[:, :1], *one_hot, numbers[:, 1:]], dim=1)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 1))
        train(network, (matrix,), label)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    frame.to_csv(tmp_path / "val.csv", index=False)
    return tmp_path


def run_next(fairfix: Run, said: str) -> None:
    """Run the audit that init names, which must take what it wrote."""
    (line,) = (line for line in said.splitlines() if line.startswith("  fairfix audit"))
    ended = fairfix(*line.split()[1:], "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["rows"] == 1200


def test_a_plain_network_on_raw_strings(fairfix: Run, raw: Path) -> None:
    ended = fairfix("init", raw / "model.pt", raw / "val.csv", "--yes", "--arch", "mlp:relu")
    assert ended.code == 0, ended.err
    text = (raw / "fairfix.toml").read_text(encoding="utf-8")
    for line in (
        'label = "label"',
        'favorable = "1"',
        'group = ["sex"]',
        'privileged = "m"',
        'arch = "mlp:relu"',
    ):
        assert line in text.splitlines()
    assert "AUC 0.9" in ended.err
    spec = json.loads((raw / "model.data.json").read_text(encoding="utf-8"))
    assert [entry["column"] for entry in spec["features"]] == ["age", "town", "work", "pay"]
    frame = pd.read_csv(raw / "val.csv")
    assert spec["features"][0]["mean"] == pytest.approx(frame["age"].mean())
    assert spec["features"][1]["categories"] == ["east", "north", "west"]
    run_next(fairfix, ended.out)
    checked = fairfix("validate", raw / "fairfix.toml", raw / "model.data.json")
    assert checked.code == 0, checked.err


def test_a_network_with_embeddings_and_numbers(
    fairfix: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "net.py"
    code.write_text(CODE, encoding="utf-8")
    names: dict[str, type[nn.Module]] = {}
    exec(compile(CODE, "net.py", "exec"), names)
    frame = rows()
    codes, numbers, label = encoded(frame)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = train(names["Net"](), (codes, numbers), label)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    frame.to_csv(tmp_path / "val.csv", index=False)
    without = fairfix("init", tmp_path / "model.pt", tmp_path / "val.csv", "--yes")
    assert without.code == 2
    assert "--arch ('file.py:Class', 'package.module:callable')" in without.sentence
    options = ("--yes", "--arch", f"{code}:Net", "--trust-checkpoint")
    ended = fairfix("init", tmp_path / "model.pt", tmp_path / "val.csv", *options)
    assert ended.code == 0, ended.err
    assert 'arch = "net.py:Net"' in (tmp_path / "fairfix.toml").read_text(encoding="utf-8")
    assert "AUC 0.9" in ended.err
    assert "warning: codes follow the sorted order of the values" in ended.err
    spec = json.loads((tmp_path / "model.data.json").read_text(encoding="utf-8"))
    assert list(spec["inputs"]) == ["codes", "numbers"]
    assert [each["column"] for each in spec["inputs"]["codes"]["columns"]] == ["town", "work"]
    assert "mean" in spec["inputs"]["numbers"]["entries"][0]
    run_next(fairfix, ended.out)


def test_an_embedding_that_is_too_small_is_named(fairfix: Run, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Embedding(2, 2), nn.Flatten(), nn.Linear(2, 1))
    torch.save(network, tmp_path / "model.pt")
    rows()[["town", "sex", "label"]].to_csv(tmp_path / "val.csv", index=False)
    ended = fairfix(
        "init", tmp_path / "model.pt", tmp_path / "val.csv", "--yes", "--trust-checkpoint"
    )
    assert ended.code == 2
    assert "Column 'town' has 3 values and its embedding takes 2" in ended.sentence
    assert not (tmp_path / "fairfix.toml").exists()


def test_what_the_files_leave_open_is_asked_for(fairfix: Run, raw: Path) -> None:
    frame = pd.read_csv(raw / "val.csv").rename(columns={"label": "income"})
    frame["income"] = frame["income"].map({0: "<=50K", 1: ">50K"})
    frame["race"] = frame["town"]
    frame.to_csv(raw / "val.csv", index=False)
    ended = fairfix("init", raw / "model.pt", raw / "val.csv", "--yes")
    assert ended.code == 2
    for part in ("--favorable ('<=50K', '>50K')", "--group ('sex', 'race')", "--arch ("):
        assert part in ended.sentence
    assert not (raw / "fairfix.toml").exists()
    options = ("--yes", "--favorable", ">50K", "--group", "sex", "--ignore", "race")
    ended = fairfix("init", raw / "model.pt", raw / "val.csv", *options, "--arch", "mlp:relu")
    assert ended.code == 0, ended.err
    run_next(fairfix, ended.out)


def test_files_are_replaced_only_with_force(fairfix: Run, raw: Path) -> None:
    (raw / "fairfix.toml").write_text("# mine\n", encoding="utf-8")
    command = ("init", raw / "model.pt", raw / "val.csv", "--yes", "--arch", "mlp:relu")
    ended = fairfix(*command)
    assert ended.code == 2
    assert "exists and is not overwritten; add --force" in ended.sentence
    assert (raw / "fairfix.toml").read_text(encoding="utf-8") == "# mine\n"
    assert fairfix(*command, "--force").code == 0


def test_the_transformer_beside_the_model_is_taken(fairfix: Run, raw: Path) -> None:
    skops = pytest.importorskip("skops.io", reason="skops is an extra")
    compose = pytest.importorskip("sklearn.compose")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    frame = pd.read_csv(raw / "val.csv")
    parts = [
        ("age", preprocessing.StandardScaler(), ["age"]),
        ("texts", preprocessing.OneHotEncoder(sparse_output=False), ["town", "work"]),
        ("pay", preprocessing.StandardScaler(), ["pay"]),
    ]
    names = ["age", "town", "work", "pay"]
    cells = frame[names].astype({"town": object, "work": object})
    skops.dump(compose.ColumnTransformer(parts).fit(cells), raw / "prepare.skops")
    ended = fairfix("init", raw / "model.pt", raw / "val.csv", "--yes", "--arch", "mlp:relu")
    assert ended.code == 0, ended.err
    (entry,) = json.loads((raw / "model.data.json").read_text(encoding="utf-8"))["features"]
    assert entry == {"transformer": "prepare.skops", "columns": names, "text": ["town", "work"]}
    run_next(fairfix, ended.out)


def test_the_activation_stored_with_the_weights_is_taken(fairfix: Run, raw: Path) -> None:
    state = torch.load(raw / "model.pt", weights_only=True)
    stored = {"state_dict": state, "hyper_parameters": {"activation": "relu"}}
    torch.save({**stored, "pytorch-lightning_version": "2.4.0"}, raw / "model.pt")
    ended = fairfix("init", raw / "model.pt", raw / "val.csv", "--yes", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["settings"]["arch"] == "mlp:relu"


def test_answers_on_a_terminal_decide(
    fairfix: Run, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fairfix.cli import init

    asked: list[str] = []

    def answer(question: str, **settings: object) -> str:
        asked.append(question)
        return "mlp:relu"

    monkeypatch.setattr(init.typer, "prompt", answer)
    monkeypatch.setattr(init, "_on_terminal", lambda: True)
    ended = fairfix("init", raw / "model.pt", raw / "val.csv")
    assert ended.code == 0, ended.err
    assert [question.partition(" ")[0] for question in asked] == ["arch"]
