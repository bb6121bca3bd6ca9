"""Tokenizers of the transformers package, loaded from a folder and nowhere else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fairfix._utils.regular_file import read_regular
from fairfix._utils.strict_json import read_json
from fairfix._utils.text import error_summary
from fairfix.errors import InputError, TrustError, UsageError

_CONFIG = "tokenizer_config.json"
_MODEL_CONFIG = "config.json"  # may name the class of the tokenizer
_FILES = (
    "tokenizer.json",
    _CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
_SUFFIXES = (".model", ".spm", ".tiktoken")  # of vocabularies
_MAX_LENGTH = 100_000  # tokenizers without a limit name a huge one


def has_tokenizer(folder: Path) -> bool:
    """Return whether a folder has the files of a tokenizer."""
    return folder.is_dir() and any(path.name != _CONFIG for path in _files(folder))


def tokenizer_sha256(folder: Path) -> str:
    """Return a hash of the files of a tokenizer.

    Raises:
        InputError: the folder has none, or they cannot be read.
    """
    if not has_tokenizer(folder):
        raise InputError(
            f"{folder} is not the folder of a tokenizer (tokenizer.json, vocab.txt); save the "
            "tokenizer there with save_pretrained, or name its folder in the data spec."
        )
    hash_ = hashlib.sha256()
    for path in _files(folder):
        content = read_regular(path, error=InputError)
        hash_.update(f"{path.name} {len(content)}\n".encode() + content)
    return hash_.hexdigest()


def copy_tokenizer(folder: Path, to: Path) -> None:
    """Copy what a tokenizer is loaded from into a new folder.

    Raises:
        InputError: a file cannot be read.
    """
    to.mkdir()
    model = folder / _MODEL_CONFIG
    for path in (*_files(folder), *((model,) if model.is_file() else ())):
        (to / path.name).write_bytes(read_regular(path, error=InputError))


def _files(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if path.name in _FILES or path.suffix in _SUFFIXES
    )


@dataclass(frozen=True)
class Tokens:
    """Texts as tokens, without padding.

    Attributes:
        ids: int32, the tokens of all texts end to end.
        types: (len(ids),) uint8, the segment of each token.
        lengths: (M,) int64, number of tokens of each text.
        truncated: (M,) bool, whether a text has more.
    """

    ids: np.ndarray
    types: np.ndarray
    lengths: np.ndarray
    truncated: np.ndarray


class FolderTokenizer:
    """The tokenizer in a folder. None of its code is run, and nothing is downloaded.

    Args:
        folder: as ``save_pretrained`` writes it.
        max_length: most tokens of a text; None takes what the tokenizer says.

    Raises:
        InputError: it cannot be loaded, or has no padding token or greatest length.
        TrustError: it has code of its own.
        UsageError: the transformers package is not installed.
    """

    def __init__(self, folder: Path, max_length: int | None) -> None:
        self._tokenizer = _load(folder)
        name = folder.resolve().name
        self.pad_id: int = self._tokenizer.pad_token_id
        if self.pad_id is None:
            raise InputError(
                f"The tokenizer in {name} has no padding token; set pad_token in {_CONFIG}."
            )
        self.pad_type: int = self._tokenizer.pad_token_type_id
        self.pads_left: bool = self._tokenizer.padding_side == "left"
        known = int(self._tokenizer.model_max_length)
        if max_length is None and known > _MAX_LENGTH:
            raise InputError(
                f"The tokenizer in {name} does not say how many tokens the network takes; set "
                "max_length in the data spec."
            )
        self.max_length = known if max_length is None else max_length
        self.arguments: tuple[str, ...] = ("input_ids", "attention_mask")
        if "token_type_ids" in self._tokenizer.model_input_names:
            self.arguments = (*self.arguments, "token_type_ids")

    def encode(self, texts: Sequence[str]) -> Tokens:
        """Return the tokens of texts, with the special tokens at both ends."""
        rows = self._encoded(list(texts))
        full = [len(ids) for ids, _ in rows]
        long = [number for number, length in enumerate(full) if length > self.max_length]
        shortened = self._encoded([texts[number] for number in long], self.max_length)
        for number, row in zip(long, shortened, strict=True):
            rows[number] = row
        truncated = np.zeros(len(rows), bool)
        truncated[long] = True
        return Tokens(
            np.array([token for ids, _ in rows for token in ids], np.int32),
            np.array([kind for _, types in rows for kind in types], np.uint8),
            np.array([len(ids) for ids, _ in rows], np.int64),
            truncated,
        )

    def _encoded(
        self, texts: list[str], max_length: int | None = None
    ) -> list[tuple[list[int], list[int]]]:
        """Return the tokens and types of each text, at most ``max_length`` of each."""
        if not texts:
            return []
        found = self._tokenizer(
            texts,
            truncation=max_length is not None,
            max_length=max_length,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=True,
            verbose=False,
        )
        return list(zip(found["input_ids"], found["token_type_ids"], strict=True))


def check_transformers() -> str:
    """Return the versions of the packages that make tokens.

    Raises:
        UsageError: they are not installed.
    """
    try:
        import tokenizers
        import transformers
    except ImportError:
        raise UsageError(
            "Texts need the packages transformers and tokenizers; install them with pip install "
            "'fairfix[text]'."
        ) from None
    return f"{transformers.__version__} {tokenizers.__version__}"


def _load(folder: Path) -> Any:
    check_transformers()
    from transformers import AutoTokenizer

    name = folder.resolve().name
    config = read_json(folder / _CONFIG, error=InputError) if (folder / _CONFIG).exists() else {}
    if not isinstance(config, dict) or "auto_map" in config:
        raise TrustError(
            f"The tokenizer in {name} has code of its own (auto_map in {_CONFIG}), which is never "
            "run; save one of the transformers package."
        )
    try:
        return AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_fast=True
        )
    except Exception as error:  # of damaged files, or of packages that it lacks
        raise InputError(
            f"The tokenizer in {name} cannot be loaded ({error_summary(error)}); save it again "
            "with save_pretrained."
        ) from None
