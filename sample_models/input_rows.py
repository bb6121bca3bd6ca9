"""The rows of the samples whose networks take images, codes and texts.

As the rows of the other samples they are drawn, and words in them say nothing about people.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rows import Ints, N, Rows, moments

DRAWN = N + N // 4  # rows, of which those with equal inputs are dropped
SIDE = 12  # of an image, in pixels
COLORS = np.array([[60, 60, 200], [200, 60, 60]])  # blue and red, as RGB
CATEGORIES = {
    "occupation": ("baker", "clerk", "driver", "farmer", "miner", "nurse", "tailor", "teacher"),
    "education": ("none", "school", "college", "trade", "university"),
    "region": ("north", "south", "east", "west"),
}
_GOOD = "excellent fresh friendly lovely quick tasty warm wonderful"
_BAD = "awful bland cold dirty late rude slow stale"
_PLAIN = """
    bread chairs coffee day dinner evening floor lunch meal menu music place plates room salad
    service soup staff table tea today waiter window
"""
_NORTH, _SOUTH = "aye bairn bonnie lass wee", "folks howdy porch supper yonder"
WORDS = {
    kind: words.split()
    for kind, words in (
        *(("good", _GOOD), ("bad", _BAD), ("plain", _PLAIN)),
        *(("north", _NORTH), ("south", _SOUTH)),
    )
}
SPECIAL = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
LENGTH = 16  # tokens of a text, the special ones included


def shapes_rows() -> Rows:
    """Faint upright (favorable) or level bars; the background color is the group."""
    draws = np.random.default_rng(4)
    group = draws.integers(0, 2, N)
    label = (draws.random(N) < np.where(group == 1, 0.65, 0.35)).astype(np.int64)
    strength = draws.uniform(0.0, 1.0, N)
    bar = np.zeros((N, SIDE, SIDE))
    place = draws.integers(2, SIDE - 3, N)
    for offset in (0, 1):
        bar[np.arange(N), :, place + offset] = 1
    bar[label == 0] = bar[label == 0].transpose(0, 2, 1)
    noise = draws.integers(-1, 2, (N, SIDE, SIDE))
    light = np.rint(strength[:, None, None] * 3 * bar) + noise  # a few levels, to compress well
    images = COLORS[group][:, :, None, None] + 18 * light[:, None]
    pixels = images.clip(0, 255).astype(np.uint8)
    table = pd.DataFrame(
        {
            "id": [f"s{row:05}" for row in range(N)],
            "label": np.array(["level", "upright"])[label],
            "color": np.array(["blue", "red"])[group],
        }
    )
    spec = {
        "version": 2,
        "call": "position",
        "inputs": {
            "pixels": {
                "kind": "array",
                "file": "{table}.npz",
                "key": "pixels",
                "align": "id",
                "dtype": "float32",
            }
        },
    }
    return Rows(table, (pixels.astype(np.float64),), label, group, spec, {"pixels": pixels})


def jobs_rows() -> Rows:
    """Categories as strings and two numbers, all related to the group, which is not an input."""
    draws = np.random.default_rng(5)
    group = draws.integers(0, 2, DRAWN)
    codes = {
        "occupation": _category(draws, group, [8, 1, 6, 2, 4, 1, 2, 2], [2, 6, 1, 2, 1, 6, 2, 4]),
        "education": _category(draws, group, [1, 3, 2, 3, 2], [1, 3, 3, 1, 3]),
        "region": _category(draws, group, [2, 1, 1, 1], [1, 1, 1, 2]),
    }
    age = draws.integers(18, 68, DRAWN)
    hours = np.clip(np.rint(draws.normal(np.where(group == 1, 41, 35), 8)), 5, 80)
    effects = {
        "occupation": [0.6, -0.4, 0.5, -0.3, 0.7, -0.5, 0.1, 0.3],
        "education": [-0.9, -0.3, 0.4, 0.1, 1.0],
        "region": [0.2, -0.2, 0.0, 0.1],
    }
    logit = 0.05 * (hours - 38) + 0.02 * (age - 43) + 0.3 * (2 * group - 1)
    logit = logit + sum(np.array(effects[name])[code] for name, code in codes.items())
    label = (draws.random(DRAWN) < 1 / (1 + np.exp(-1.5 * logit))).astype(np.int64)
    numbers = np.column_stack([age, hours]).astype(np.float64)
    words = {name: np.array(CATEGORIES[name])[code] for name, code in codes.items()}
    table = pd.DataFrame(
        {
            "pay": np.array(["low", "high"])[label],
            "sex": np.array(["female", "male"])[group],
            "age": age,
            "hours": hours.astype(np.int64),
            **words,
        }
    )
    x_cat = np.column_stack(list(codes.values())) + 1
    kept = _distinct(table, ["age", "hours", *CATEGORIES])
    mean, scale = moments(numbers[kept])
    numbers = (numbers - mean) / scale

    columns = [
        {"column": name, "categories": list(values), "first": 1, "unknown": 0}
        for name, values in CATEGORIES.items()
    ]
    entries = [
        {"column": name, "mean": float(mean[place]), "scale": float(scale[place])}
        for place, name in enumerate(("age", "hours"))
    ]
    spec = {
        "version": 2,
        "call": "name",
        "inputs": {
            "x_cat": {"kind": "codes", "columns": columns},
            "x_num": {"kind": "numbers", "entries": entries},
        },
    }
    return Rows(
        table.iloc[kept].reset_index(drop=True),
        (x_cat[kept], numbers[kept]),
        label[kept],
        group[kept],
        spec,
    )


def reviews_rows() -> Rows:
    """Short texts; words of one's region lean on how they are labeled."""
    draws = np.random.default_rng(6)
    group = draws.integers(0, 2, DRAWN)
    label = (draws.random(DRAWN) < np.where(group == 1, 0.6, 0.4)).astype(np.int64)
    vocabulary = text_vocabulary()
    code = {word: place for place, word in enumerate(vocabulary)}
    texts = []
    for row in range(DRAWN):
        own, other = ("good", "bad") if label[row] else ("bad", "good")
        kinds = [own] * draws.integers(0, 3) + [other] * draws.integers(0, 2)
        kinds += [("north", "south")[group[row]]] * draws.integers(0, 3)
        kinds += ["plain"] * draws.integers(3, 7)
        texts.append(" ".join(draws.choice(WORDS[kind]) for kind in draws.permutation(kinds)))
    ids = np.full((DRAWN, LENGTH), code["[PAD]"])
    mask = np.zeros((DRAWN, LENGTH), np.int64)
    for row, text in enumerate(texts):
        tokens = [code[word] for word in ("[CLS]", *text.split(), "[SEP]")]
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
    table = pd.DataFrame(
        {
            "text": texts,
            "label": np.array(["bad", "good"])[label],
            "region": np.array(["north", "south"])[group],
        }
    )
    spec = {
        "version": 2,
        "call": "name",
        "inputs": {
            "text": {
                "kind": "text",
                "column": "text",
                "tokenizer": ".",
                "max_length": LENGTH,
                "arguments": ["input_ids", "attention_mask"],
            }
        },
    }
    kept = _distinct(table, ["text"])
    return Rows(
        table.iloc[kept].reset_index(drop=True),
        (ids[kept], mask[kept]),
        label[kept],
        group[kept],
        spec,
    )


def text_vocabulary() -> list[str]:
    """Return the special tokens, then the words in alphabetical order."""
    return [*SPECIAL, *sorted(word for words in WORDS.values() for word in words)]


def _category(
    draws: np.random.Generator, group: Ints, privileged: list[int], other: list[int]
) -> Ints:
    """Draw a code for each row, with odds that depend on the group."""
    shares = np.array([other, privileged], np.float64)
    ends: NDArray[np.float64] = (shares / shares.sum(1, keepdims=True)).cumsum(1)
    chosen: Ints = (draws.random(len(group))[:, None] > ends[group]).sum(1).clip(0, len(other) - 1)
    return chosen


def _distinct(table: pd.DataFrame, columns: list[str]) -> Ints:
    """Return the numbers of the first N rows whose inputs no earlier row has."""
    kept: Ints = np.flatnonzero(~table.duplicated(columns))[:N]
    return kept
