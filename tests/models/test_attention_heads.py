"""Attention heads as prunable units."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fairfix.data.problem import Problem
from fairfix.errors import CheckpointError
from fairfix.methods import get
from fairfix.methods._soft_gap import soft_gap
from fairfix.methods.prune import _change
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Batch
from fairfix.models.prunable_units import find_prunable_layers, trace_prunable_layers
from fairfix.models.scorer import Output, Scorer
from tests.helpers.runs import Run
from tests.helpers.toys import biased_problem

TOKENS, WIDTH, HEADS = 5, 8, 2


def tokens(rows: int) -> Tensor:
    """Token numbers as float64, so that scores are float64."""
    drawn = torch.randint(0, 9, (rows, TOKENS), generator=torch.Generator().manual_seed(0))
    return drawn.double()


class Tokens(nn.Module):
    """Token embeddings, an attention that is added to them, and a linear head on the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, WIDTH)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids.long())
        logits: Tensor = self.head((x + self.attend(x)).mean(1))
        return logits

    def attend(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Projected(Tokens):
    """Query, key and value by layers of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def attend(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).view(*x.shape[:2], HEADS, -1).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        heads = functional.scaled_dot_product_attention(query=q, value=v, key=k)
        out: Tensor = self.o(heads.transpose(1, 2).flatten(2))
        return out


class Fused(Tokens):
    """Query, key and value by one layer; heads are put together by permute and reshape."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {"qkv": nn.Linear(WIDTH, 3 * WIDTH), "proj": nn.Linear(WIDTH, WIDTH)}
        )

    def attend(self, x: Tensor) -> Tensor:
        rows, length, _ = x.shape
        q, k, v = (
            self.attention["qkv"](x).reshape(rows, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        )
        heads = functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.attention["proj"](heads.permute(0, 2, 1, 3).reshape(rows, length, -1))
        return out


class Torch(Tokens):
    """``nn.MultiheadAttention``."""

    def __init__(self, *, batch_first: bool = True, need_weights: bool = False) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first)
        self.options = {"need_weights": need_weights}

    def attend(self, x: Tensor) -> Tensor:
        attended: Tensor = self.attention(x, x, x, **self.options)[0]
        return attended


class Written(Projected):
    """Attention without torch's function for it."""

    def attend(self, x: Tensor) -> Tensor:
        weights = (self.q(x) @ self.k(x).mT).softmax(-1)
        out: Tensor = self.o(weights @ self.v(x))
        return out


class Encoder(Tokens):
    """``nn.TransformerEncoder``, which has a fast path of its own."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 6, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)

    def attend(self, x: Tensor) -> Tensor:
        encoded: Tensor = self.encoder(x)
        return encoded


class Decoder(Tokens):
    """Attention to other positions than one's own: the key and the value have other weights."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.TransformerDecoderLayer(WIDTH, HEADS, 6, batch_first=True)

    def attend(self, x: Tensor) -> Tensor:
        decoded: Tensor = self.decoder(x, x.flip(1))
        return decoded


# The module that heads are listed under, and the layer that reads them.
NETWORKS: dict[str, tuple[Callable[[], Tokens], dict[str, str]]] = {
    "projected": (Projected, {"(heads)": "o"}),
    "fused": (Fused, {"attention.(heads)": "attention.proj"}),
    "torch": (Torch, {"attention.(heads)": "attention.out_proj"}),
    "torch, positions first": (
        lambda: Torch(batch_first=False),
        {"attention.(heads)": "attention.out_proj"},
    ),
    "torch with weights": (
        lambda: Torch(need_weights=True),
        {"attention.(heads)": "attention.out_proj"},
    ),
    "encoder": (
        Encoder,
        {"encoder.layers.0.self_attn.(heads)": "encoder.layers.0.self_attn.out_proj"},
    ),
    "decoder": (
        Decoder,
        {
            "decoder.self_attn.(heads)": "decoder.self_attn.out_proj",
            "decoder.multihead_attn.(heads)": "decoder.multihead_attn.out_proj",
        },
    ),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def scorer_of(network: Callable[[], nn.Module]) -> Scorer:
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        made = network().double()
        for parameter in made.parameters():  # some of torch's are 0 at first
            nn.init.normal_(parameter, std=0.5)
    return Scorer(made.eval(), Output.LOGIT)


@every_network
def test_heads_are_units_and_channels_of_query_key_and_value_are_not(name: str) -> None:
    make, heads = NETWORKS[name]
    layers = find_prunable_layers(scorer_of(make), tokens(2))
    found = {layer.name.removeprefix("network."): layer for layer in layers}
    for head, reading in heads.items():
        assert found.pop(head).units == HEADS
        assert reading in found
    assert not any(part in name for name in found for part in ("qkv", "in_proj"))
    assert not found.keys() & {"q", "k", "v"}


@every_network
def test_a_pruned_head_is_one_whose_columns_of_the_next_layer_are_0(name: str) -> None:
    make, heads = NETWORKS[name]
    rows, size = tokens(20), WIDTH // HEADS
    for head, reading in heads.items():
        for unit in range(HEADS):
            scorer, by_hand = scorer_of(make), scorer_of(make)
            layers = find_prunable_layers(scorer, rows[:2])
            layer = next(each for each in layers if each.name == f"network.{head}")
            before = scorer.score(rows)
            layer.prune(dict(scorer.named_parameters()), unit)
            with torch.no_grad():
                weight = by_hand.network.get_submodule(reading).weight
                weight[:, unit * size : (unit + 1) * size] = 0
            assert torch.equal(scorer.score(rows), by_hand.score(rows))
            assert not torch.equal(scorer.score(rows), before)


@every_network
@pytest.mark.parametrize("score", ["removal", "gradient"])
def test_the_score_of_a_head_is_the_change_of_the_gap_when_it_is_scaled(
    name: str, score: str
) -> None:
    """Against central differences. Equation 4 scores heads whose entries all move by h."""
    make, heads = NETWORKS[name]
    scorer = scorer_of(make)
    problem = biased_problem(scorer, tokens(60))
    layers = find_prunable_layers(scorer, tokens(2))
    change, _, _ = _change(score, problem.network()[0], problem, Objective(), layers)
    ends = torch.tensor([layer.units for layer in layers]).cumsum(0).tolist()
    for head, reading in heads.items():
        at = next(i for i, layer in enumerate(layers) if layer.name == f"network.{head}")
        found = change[ends[at] - HEADS : ends[at]]
        moves = [moved(problem, reading, unit, score) for unit in range(HEADS)]
        expected = torch.tensor(moves, dtype=torch.float64)
        assert bool(expected.abs().max() > 1e-4)
        torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-4)


def moved(problem: Problem, reading: str, unit: int, score: str) -> float:
    """Change of the gap per factor (removal) or per shift (gradient) of a head, downward."""
    scorer, inputs = problem.network()
    size, values = WIDTH // HEADS, []
    here = torch.zeros(WIDTH, dtype=torch.float64)
    here[unit * size : (unit + 1) * size] = 1
    layer = scorer.network.get_submodule(reading)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    for h in (-1e-5, 1e-5):
        with torch.no_grad():  # the layer is linear: change its weight, not what it reads
            if score == "removal":
                layer.weight.copy_(weight * (1 + h * here))
            else:
                layer.bias.copy_(bias + h * weight @ here)
        values.append(float(soft_gap(METRICS["spd"], scorer.score(inputs), problem.cells)))
    return (values[0] - values[1]) / 2e-5


def test_attention_written_out_has_no_heads() -> None:
    layers = find_prunable_layers(scorer_of(Written), tokens(2))
    assert not any("heads" in layer.name for layer in layers)


def test_attention_without_a_dimension_of_heads_has_none_that_can_be_pruned() -> None:
    class OneHead(Projected):
        def attend(self, x: Tensor) -> Tensor:
            q, k, v = self.q(x), self.k(x), self.v(x)
            return functional.scaled_dot_product_attention(q, k, v)

    with pytest.raises(CheckpointError, match="no hidden units"):
        find_prunable_layers(scorer_of(OneHead), tokens(2))


def test_two_attentions_of_a_module_have_different_names() -> None:
    class Twice(Projected):
        def __init__(self) -> None:
            super().__init__()
            self.again = nn.Linear(WIDTH, WIDTH)

        def attend(self, x: Tensor) -> Tensor:
            first = super().attend(x)
            heads = first.view(*x.shape[:2], HEADS, -1).transpose(1, 2)
            heads = functional.scaled_dot_product_attention(heads, heads, heads)
            out: Tensor = self.again(heads.transpose(1, 2).flatten(2))
            return out

    names = [layer.name for layer in find_prunable_layers(scorer_of(Twice), tokens(2))]
    assert names == ["network.(heads)", "network.(heads 2)", "network.again"]


@every_network
def test_following_heads_changes_no_score(name: str) -> None:
    scorer = scorer_of(NETWORKS[name][0])
    with torch.no_grad():
        output, _ = trace_prunable_layers(scorer, tokens(20))
    torch.testing.assert_close(output, scorer.score(tokens(20)), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", ["Bert", "DistilBert"])
def test_hugging_face_transformers_have_heads_and_units(kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {
        "Bert": {"hidden_size": 8, "intermediate_size": 6, "num_attention_heads": 2}
        | {"num_hidden_layers": 1},
        "DistilBert": {"dim": 8, "hidden_dim": 6, "n_heads": 2, "n_layers": 1},
    }[kind]
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=9, max_position_embeddings=8, num_labels=1, **sizes
    )
    network = getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()
    scorer = Scorer(network, Output.LOGIT, output_name="logits")
    ids = tokens(2).long()
    batch = Batch(kwargs={"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    layers = find_prunable_layers(scorer, batch)
    units = {layer.name: layer.units for layer in layers}
    assert [n for name, n in units.items() if name.endswith(".(heads)")] == [HEADS]
    assert 6 in units.values()
    assert not any(part in name for name in units for part in ("query", "key", "value", "_lin."))


def test_prune_removes_heads_and_keeps_what_does_not_help() -> None:
    scorer = scorer_of(Encoder)
    problem = biased_problem(scorer, tokens(60))
    result = get("prune").run(problem, Objective(kind="tradeoff"), per_step=1)
    assert result.state is not None
    assert torch.isfinite(problem.score(result.state)).all()


def test_a_checkpoint_with_a_pruned_head_is_read_back(fairfix: Run, tmp_path: Path) -> None:
    """Rows are arrays of 3 positions of 4 numbers; keys and shapes stay."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True)
    network = nn.Sequential(layer, nn.Flatten(), nn.Linear(12, 1)).eval()
    torch.save(network, tmp_path / "model.pt")
    rows = torch.randn(80, 3, 4)
    np.save(tmp_path / "x.npy", rows.numpy())
    scores = network(rows).sigmoid().detach().flatten()
    ranks = scores.argsort().argsort().numpy()
    draws = np.random.default_rng(0).normal(scale=20, size=(2, 80))
    label, group = (ranks + draws > 40).astype(int)
    pd.DataFrame({"label": label, "group": group}).to_csv(tmp_path / "val.csv", index=False)
    given = "--array", str(tmp_path / "x.npy"), "--trust-checkpoint"
    shown = fairfix("inspect", tmp_path / "model.pt", tmp_path / "val.csv", *given)
    assert "2 heads" in shown.out
    out = tmp_path / "out.pt"
    options = "--per-step", "1", "--max-units", "1", "--no-recalibrate", "--allow-trivial"
    ended = fairfix(
        *("prune", tmp_path / "model.pt", tmp_path / "val.csv", *given, *options),
        *("--objective", "tradeoff", "--output", out),
    )
    assert ended.code == 0, ended.err
    before, after = (
        torch.load(path, weights_only=False).state_dict() for path in (tmp_path / "model.pt", out)
    )
    assert {k: v.shape for k, v in before.items()} == {k: v.shape for k, v in after.items()}
    assert any(not torch.equal(before[k], after[k]) for k in before)
    decided = fairfix(
        *("predict", out, tmp_path / "val.csv", "--trust-checkpoint"),
        *("--output", tmp_path / "p.csv"),
    )
    assert decided.code == 0, decided.err
    network.load_state_dict(after)
    found = pd.read_csv(tmp_path / "p.csv")["score"].to_numpy()
    assert found == pytest.approx(network(rows).sigmoid().detach().flatten().numpy(), abs=1e-6)
