"""Texts as inputs: tokens, padding, truncation, tokenizers that are refused, and the cache."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import fairfix as library
from fairfix._utils.progress import progress_callback
from fairfix.data.inputs import text_part
from fairfix.data.spec import InputsSpec
from fairfix.data.table import Table
from fairfix.errors import FairfixError, InputError, TrustError, UsageError
from fairfix.models.joined_inputs import joined_inputs
from tests.data.inputs.conftest import Read

pytest.importorskip("transformers", reason="transformers is not installed")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "a", "very"]
LONG = " ".join(["very"] * 40 + ["good"])
TEXTS = {"review": ["a good film", "Bad!", LONG, "very very bad"]}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A word tokenizer like that of BERT. Not to be changed."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    words.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, ends)
    folder = tmp_path_factory.mktemp("words")
    PreTrainedTokenizerFast(
        tokenizer_object=words,
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep")},
        model_max_length=64,
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def tokenizer(tmp_path: Path, saved: Path) -> Path:
    """The same in the folder of the data spec."""
    folder = tmp_path / "words"
    folder.mkdir()
    for path in saved.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def text(**more: Any) -> dict[str, Any]:
    return {"text": {"kind": "text", "column": "review", "tokenizer": "words", **more}}


def configure(folder: Path, **values: Any) -> None:
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text()) | values
    path.write_text(json.dumps({name: v for name, v in config.items() if v is not None}))


def arguments(table: Table, rows: Any = slice(None)) -> dict[str, torch.Tensor]:
    assert table.inputs is not None
    return table.inputs.batch(rows).kwargs


def test_tokens_are_those_of_the_tokenizer(read: Read, tokenizer: Path) -> None:
    from transformers import AutoTokenizer

    own = AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
    expected = own(TEXTS["review"], padding="max_length", max_length=64, return_tensors="pt")
    got = arguments(read(text(), TEXTS))
    assert list(got) == ["input_ids", "attention_mask"]
    for name, values in got.items():
        assert torch.equal(values, expected[name]), name
        assert values.dtype == torch.int64


def test_rows_are_padded_by_their_own_length_alone(read: Read, tokenizer: Path) -> None:
    table = read(text(), TEXTS)
    assert table.inputs is not None
    lengths = table.inputs.lengths()
    assert lengths is not None
    assert lengths.tolist() == [16, 16, 64, 16]
    assert arguments(table, torch.tensor([3, 0]))["input_ids"].shape == (2, 16)
    shapes = [batch.kwargs["input_ids"].shape for _, batch in table.inputs.batches(2)]
    assert shapes == [(2, 16), (1, 16), (1, 64)]


@pytest.mark.parametrize(("tokens", "padded"), [(16, 16), (17, 32), (32, 32), (33, 40), (41, 40)])
def test_the_padded_length_is_the_next_power_of_two(
    read: Read, tokenizer: Path, tokens: int, padded: int
) -> None:
    long = " ".join(["very"] * (tokens - 2))
    table = read(text(max_length=40), {"review": [long, "a", "a", "a"]})
    got = arguments(table, torch.tensor([0]))
    assert got["input_ids"].shape == (1, padded)
    assert int(got["attention_mask"].sum()) == min(tokens, 40)


def test_truncated_rows_keep_their_end_token_and_are_counted(read: Read, tokenizer: Path) -> None:
    table = read(text(max_length=5), TEXTS)
    got = arguments(table)["input_ids"]
    assert got[2].tolist() == [2, 8, 8, 8, 3]
    assert got[0].tolist() == [2, 7, 4, 6, 3]
    assert "texts of 'review': at most 5 tokens; 1 row is truncated" in table.notes


@pytest.mark.parametrize("side", ["right", "left"])
def test_texts_of_two_tables_are_joined_as_one(read: Read, tokenizer: Path, side: str) -> None:
    configure(tokenizer, padding_side=side)
    parts = [read(text(), {"review": TEXTS["review"][::step]}).inputs for step in (1, -1)]
    whole = read(text(), {"review": TEXTS["review"] + TEXTS["review"][::-1]}).inputs
    assert parts[0] is not None
    assert parts[1] is not None
    assert whole is not None
    joined = joined_inputs(parts[0], parts[1])
    assert torch.equal(joined.lengths(), whole.lengths())  # type: ignore[arg-type]
    assert np.array_equal(joined.digests(), whole.digests())
    for rows in ([5, 0], [7, 1, 4], [2, 6, 3], [1, 3], []):
        index = torch.tensor(rows, dtype=torch.int64)
        found, expected = (each.take(index).batch().tensors for each in (joined, whole))
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other)
    shapes = [batch.kwargs["input_ids"].shape for _, batch in joined.batches(4)]
    assert shapes == [(4, 16), (2, 16), (2, 64)]


class MeanOfTokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(WORDS), 4)
        self.head = nn.Linear(4, 1)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = attention_mask.unsqueeze(2)
        output: torch.Tensor = self.head((self.embedding(input_ids) * mask).sum(1) / mask.sum(1))
        return output


def test_a_program_takes_texts_padded_to_the_largest_length(
    tokenizer: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    torch.save(MeanOfTokens().eval(), tmp_path / "model.pt")
    spec = {"version": 2, "call": "name", "inputs": text(max_length=40)}
    (tmp_path / "model.data.json").write_text(json.dumps(spec))
    draws = np.random.default_rng(0)
    words = [" ".join(draws.choice(WORDS[4:], n)) for n in draws.integers(1, 45, 60)]
    frame = pd.DataFrame({"review": words, "label": [0, 1] * 30, "group": [0, 0, 1, 1] * 15})
    frame.to_csv(tmp_path / "val.csv", index=False)
    case = library.load(tmp_path / "model.pt", tmp_path / "val.csv", privileged="1", trust=True)
    outcome = library.debias(case, "gda", epochs=1, budget=0.3, subgroups=False)
    program = tmp_path / "program.pt2"
    outcome.save(tmp_path / "new.pt", allow_trivial=True, export=program)
    assert case.problem.inputs is not None
    padded = case.problem.inputs.of_one_length().batch().tensors
    assert {tuple(x.shape) for x in padded} == {(60, 40)}
    decided = torch.from_numpy(outcome.predict(tmp_path / "val.csv").decisions)
    assert torch.equal(torch.export.load(program).module()(*padded).flatten() > 0, decided.bool())


def test_padding_is_on_the_side_of_the_tokenizer(read: Read, tokenizer: Path) -> None:
    configure(tokenizer, padding_side="left")
    got = arguments(read(text(), TEXTS), torch.tensor([1]))
    assert got["input_ids"][0].tolist() == [0] * 12 + [2, 5, 1, 3]
    assert got["attention_mask"][0].tolist() == [0] * 12 + [1] * 4


def test_segments_are_given_where_the_tokenizer_or_the_spec_asks(
    read: Read, tokenizer: Path
) -> None:
    names = ["input_ids", "token_type_ids", "attention_mask"]
    got = arguments(read(text(arguments=names[1::-1]), TEXTS))
    assert list(got) == ["token_type_ids", "input_ids"]
    configure(tokenizer, model_input_names=names)
    table = read(text(), TEXTS, call="position")
    assert table.inputs is not None
    assert table.inputs.keys == ("input_ids", "attention_mask", "token_type_ids")
    assert int(table.inputs.batch().args[2].abs().sum()) == 0


def test_an_empty_text_is_named_with_its_row_or_left_out(read: Read, tokenizer: Path) -> None:
    cells = {"review": ["a", " ", "bad", "", "film", "good"]}
    with pytest.raises(FairfixError, match=r"2 rows of val\.csv cannot be used \(first: line 3: "):
        read(text(), cells)
    table = read(text(), cells, on_bad_row="skip")
    assert arguments(table)["input_ids"][:, 1].tolist() == [7, 5, 6, 4]
    assert table.labels is not None
    assert table.labels.tolist() == [0, 0, 0, 1]
    with pytest.raises(FairfixError, match="all texts are empty"):
        read(text(), {"review": [" "] * 4}, on_bad_row="skip")


def test_texts_are_tokenized_once(
    read: Read, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    with progress_callback(lambda task, done, total: seen.append(task)):
        expected = arguments(read(text(), TEXTS))["input_ids"]
    assert seen == ["tokenizing texts"]
    with monkeypatch.context() as patch:
        patch.setattr(text_part.FolderTokenizer, "encode", None)
        assert torch.equal(arguments(read(text(), TEXTS))["input_ids"], expected)
        for other in (text(max_length=9), text()):
            cells = TEXTS if other == text(max_length=9) else {"review": ["a"] * 4}
            with pytest.raises(TypeError):
                read(other, cells)
    (entry,) = (tmp_path / "cache" / "texts").iterdir()
    for path in sorted(entry.iterdir()):
        path.write_bytes(path.read_bytes()[:-3])
        assert torch.equal(arguments(read(text(), TEXTS))["input_ids"], expected)


def test_rows_keep_their_tokens_and_digests_in_any_order(read: Read, tokenizer: Path) -> None:
    inputs = read(text(), {"review": ["a", "bad", "a", LONG]}).inputs
    assert inputs is not None
    digests = inputs.digests()
    assert len(np.unique(digests, axis=0)) == 3
    taken = inputs.take(torch.tensor([3, 1, 3]))
    np.testing.assert_array_equal(taken.digests(), digests[[3, 1, 3]])
    for part in (taken, pickle.loads(pickle.dumps(taken)), copy.deepcopy(taken)):
        got = part.batch().kwargs["input_ids"]
        assert torch.equal(got, inputs.batch().kwargs["input_ids"][[3, 1, 3]])


def test_equal_texts_count_as_independent_with_a_warning(read: Read, tokenizer: Path) -> None:
    table = read(text(), {"review": ["a", "bad", "a", "good"]})
    assert table.clusters is None
    assert table.repeats.startswith("2 of 4 rows equal another row and count as independent")


def test_the_spec_binds_the_files_of_the_tokenizer(
    read: Read, tokenizer: Path, tmp_path: Path
) -> None:
    value = {"version": 2, "call": "name", "inputs": text()}
    stored = InputsSpec.from_json(value, folder=tmp_path).to_json()
    assert len(stored["inputs"]["text"]["sha256"]) == 64
    assert InputsSpec.from_json(stored, folder=tmp_path).to_json() == stored
    configure(tokenizer, padding_side="left")
    with pytest.raises(UsageError, match="The tokenizer in words is not the one that the rule or"):
        InputsSpec.from_json(stored, folder=tmp_path)


def test_code_of_a_tokenizer_is_never_run(read: Read, tokenizer: Path) -> None:
    configure(tokenizer, auto_map={"AutoTokenizer": ["evil.Tokenizer", None]})
    (tokenizer / "evil.py").write_text("raise SystemExit")
    with pytest.raises(TrustError, match=r"has code of its own \(auto_map in tokenizer_config"):
        read(text(), TEXTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pad_token": None}, "The tokenizer in words has no padding token; set pad_token"),
        ({"model_max_length": 10**30}, "does not say how many tokens the network takes; set max_"),
    ],
)
def test_a_tokenizer_that_lacks_something_is_refused(
    read: Read, tokenizer: Path, change: dict[str, Any], message: str
) -> None:
    configure(tokenizer, **change)
    with pytest.raises(InputError) as raised:
        read(text(), TEXTS)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_damaged_tokenizer_is_refused(read: Read, tokenizer: Path) -> None:
    (tokenizer / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"The tokenizer in words cannot be loaded \("):
        read(text(), TEXTS)


def test_a_folder_without_a_tokenizer_and_one_outside_are_refused(
    read: Read, tokenizer: Path
) -> None:
    for path in tokenizer.iterdir():
        path.unlink()
    with pytest.raises(InputError, match="is not the folder of a tokenizer"):
        read(text(), TEXTS)
    with pytest.raises(InputError, match="which is outside of its folder"):
        read(text(tokenizer="../words"), TEXTS)


def test_missing_packages_are_one_sentence(
    read: Read, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"install them with pip install 'fairfix\[text\]'"):
        read(text(), TEXTS)


NETWORK = """
import torch


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.last = torch.nn.Embedding(9, 4), torch.nn.Linear(4, 1)

    def forward(self, input_ids, attention_mask):
        kept = attention_mask.unsqueeze(2)
        return self.last((self.words(input_ids) * kept).sum(1) / kept.sum(1))
"""


def test_a_model_in_another_folder_has_a_copy_of_its_tokenizer(
    tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIRFIX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "net.py").write_text(NETWORK)
    drawn = torch.Generator().manual_seed(0)  # equal texts get equal scores to the last digit
    words, last = (torch.randn(n, 4, generator=drawn) for n in (9, 1))
    weights = {"words.weight": words, "last.weight": last, "last.bias": torch.zeros(1)}
    torch.save(weights, tmp_path / "m.pt")
    spec = {"version": 2, "inputs": text()}
    (tmp_path / "m.data.json").write_text(json.dumps(spec))
    rows = [f"{i % 2},{i // 2 % 2},{' '.join(WORDS[4 + i % 5 :])}" for i in range(200)]
    table = tmp_path / "val.csv"
    table.write_text("\n".join(["label,group,review", *rows]))
    arch = {"arch": f"{tmp_path / 'net.py'}:Network"}
    made = library.debias(library.load(tmp_path / "m.pt", table, **arch), "identity")
    (tmp_path / "out").mkdir()
    for _ in range(2):
        written = library.save(made, tmp_path / "out", allow_trivial=True, force=True)
    tokenizer.rename(tmp_path / "elsewhere")
    assert (tmp_path / "out/m.debiased.text.tokenizer/tokenizer.json").is_file()
    predicted = library.predict(written.model, table, **arch)
    assert len(set(predicted.scores.tolist())) == 5
