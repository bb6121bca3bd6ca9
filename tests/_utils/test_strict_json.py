"""Strict JSON: what is refused, where, in which words, and what a model makes of the rest."""

from __future__ import annotations

import json
import random
import struct
import sys
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Discriminator, Field, Tag, field_validator

from fairfix._utils.strict_json import StrictModel, parse_json, read_json, validate
from fairfix._utils.validation_messages import place_name
from fairfix.errors import CheckpointError, TableError, UsageError


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Circle(StrictModel):
    radius: float = Field(gt=0)
    label: str = ""


class Square(StrictModel):
    side: float
    corners: tuple[float, ...] = Field((), max_length=4)


def kind_of(value: Any) -> str:
    return "radius" if isinstance(value, dict) and "radius" in value else "square"


# A tag may be the name of a key.
Shape = Annotated[
    Annotated[Circle, Tag("radius")] | Annotated[Square, Tag("square")], Discriminator(kind_of)
]


class Drawing(StrictModel):
    version: Literal[1] = 1
    shapes: tuple[Shape, ...] = Field((), min_length=1)
    color: Color = Color.RED
    weights: dict[str, float] = Field(default_factory=dict)
    margin: Literal["auto"] | float | None = None
    demands: str | tuple[str, ...] = ()
    seed: int = Field(0, ge=0, lt=2**63)
    code: str = Field("a", pattern="^[a-z]+$")
    flag: bool = False
    lambda_: float = Field(0.75, alias="lambda", ge=0, le=1)
    frame: Circle | None = None
    nested: list[dict[str, Circle | None]] = Field(default_factory=list)
    free: Any = None

    @field_validator("seed")
    @classmethod
    def _even(cls, seed: int) -> int:
        if seed % 2:
            raise ValueError(f"must be even, not {seed}")
        return seed


SHAPES = [{"side": 1.0}]


def refused(values: Any) -> str:
    with pytest.raises(UsageError) as caught:
        validate(Drawing, values, "d.json")
    message = str(caught.value)
    assert message.startswith("d.json: ")
    assert message.endswith((".", "?"))
    return message.removeprefix("d.json: ")


def test_a_valid_document_becomes_a_model() -> None:
    data = {
        "shapes": [{"radius": 2}, {"side": 0.1, "corners": [1, 2.5]}],
        "color": "blue",
        "margin": "auto",
        "demands": ["a", "b"],
        "lambda": 1,
        "free": {"a": [1, 1.0, None, True, "x", 10**30]},
    }
    made = validate(Drawing, data, "d.json")
    assert made.shapes == (Circle(radius=2.0), Square(side=0.1, corners=(1.0, 2.5)))
    assert made.color is Color.BLUE
    assert (made.margin, made.demands, made.lambda_) == ("auto", ("a", "b"), 1.0)
    assert made.free == data["free"]
    assert [type(value) for value in made.free["a"][:2]] == [int, float]


def test_numbers_keep_every_bit() -> None:
    generator = random.Random(0)
    values = [struct.unpack("d", generator.randbytes(8))[0] for _ in range(20_000)]
    values = [value for value in values if value - value == 0]  # neither NaN nor infinite
    values += [5e-324, 2.2250738585072014e-308, sys.float_info.max, 0.1 + 0.2, -0.0]
    data = {"shapes": SHAPES, "weights": {str(i): value for i, value in enumerate(values)}}
    parsed = parse_json(json.dumps(data), "d.json")
    made = validate(Drawing, parsed, "d.json")
    assert [*map(repr, made.weights.values())] == [*map(repr, values)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "the top level must be an object, not a list."),
        (3, "the top level must be an object, not 3."),
        ({"shapes": []}, "shapes must not be empty."),
        ({"shapes": {}}, "shapes must be a list, not an object."),
        ({"shapes": [3]}, "shapes[0] must be an object, not 3."),
        ({"shapes": [{}]}, "shapes[0] has no key 'side'; add it."),
        ({"shapes": [{"radius": 0}]}, "shapes[0].radius must be above 0, not 0."),
        ({"shapes": [{"radius": "1"}]}, "shapes[0].radius must be a number, not '1'."),
        ({"shapes": [{"radius": True}]}, "shapes[0].radius must be a number, not true."),
        ({"shapes": [{"radius": None}]}, "shapes[0].radius must be a number, not null."),
        (
            {"shapes": [*SHAPES, {"side": 1, "cornesr": []}]},
            "shapes[1] has an unknown key 'cornesr'; did you mean 'corners'?",
        ),
        (
            {"shapes": [{"radius": 1, "xyz": 1}]},
            "shapes[0] has an unknown key 'xyz'; known keys: 'radius', 'label'.",
        ),
        (
            {"shapes": [{"side": 1, "corners": [1, 2, 3, 4, 5]}]},
            "shapes[0].corners must have at most 4 entries, not 5.",
        ),
        (
            {"shapes": [{"side": 1, "corners": [1, "2"]}]},
            "shapes[0].corners[1] must be a number, not '2'.",
        ),
        (
            {"shapes": SHAPES, "Color": "red"},
            "the top level has an unknown key 'Color'; did you mean 'color'?",
        ),
        (
            {"shapes": SHAPES, "lambda_": 0.5},
            "the top level has an unknown key 'lambda_'; did you mean 'lambda'?",
        ),
        ({"shapes": SHAPES, "lambda": 1.5}, "lambda must be at most 1, not 1.5."),
        ({"shapes": SHAPES, "lambda": -1}, "lambda must be at least 0, not -1."),
        (
            {"shapes": SHAPES, "color": "bleu"},
            "color must be 'red' or 'blue', not 'bleu'; did you mean 'blue'?",
        ),
        ({"shapes": SHAPES, "version": 2}, "version must be 1, not 2."),
        ({"shapes": SHAPES, "weights": {"a": "b"}}, "weights.a must be a number, not 'b'."),
        (
            {"shapes": SHAPES, "weights": {"Never married": []}},
            "weights['Never married'] must be a number, not a list.",
        ),
        ({"shapes": SHAPES, "margin": "of"}, "margin must be 'auto' or a number, not 'of'."),
        ({"shapes": SHAPES, "demands": 5}, "demands must be a string or a list, not 5."),
        ({"shapes": SHAPES, "demands": ["a", 5]}, "demands[1] must be a string, not 5."),
        ({"shapes": SHAPES, "seed": 3}, "seed must be even, not 3."),
        ({"shapes": SHAPES, "seed": 1.0}, "seed must be a whole number, not 1.0."),
        ({"shapes": SHAPES, "seed": 2**63}, f"seed must be below {2**63}, not {2**63}."),
        ({"shapes": SHAPES, "code": "A"}, "code must match the pattern ^[a-z]+$, not 'A'."),
        ({"shapes": SHAPES, "flag": 1}, "flag must be true or false, not 1."),
        ({"shapes": SHAPES, "frame": 1}, "frame must be an object, not 1."),
        ({"shapes": SHAPES, "frame": {"radius": -1}}, "frame.radius must be above 0, not -1."),
        (
            {"shapes": SHAPES, "frame": {"radius": 1, "lable": "x"}},
            "frame has an unknown key 'lable'; did you mean 'label'?",
        ),
        (
            {"shapes": SHAPES, "nested": [{"a": {"radius": 1, "lable": "x"}}]},
            "nested[0].a has an unknown key 'lable'; did you mean 'label'?",
        ),
        ({"shapes": SHAPES, "nested": [{"a": 1}]}, "nested[0].a must be an object, not 1."),
        (
            {"shapes": SHAPES, "code": "A" * 99},
            f"code must match the pattern ^[a-z]+$, not '{'A' * 36}....",
        ),
        ({"shapes": SHAPES, "free": float("nan")}, "free must be a finite number, not NaN."),
        (
            {"shapes": SHAPES, "free": [0, {"a": 10**400}]},
            "free[1].a must be a finite number in the range of float64.",
        ),
        (
            {"shapes": SHAPES, "free": date(2024, 1, 31)},
            "free must be text, a number, true or false, not date 2024-01-31.",
        ),
        (
            {"shapes": SHAPES, "code": "\ud800"},
            "the top level has text that is not valid Unicode (an unpaired surrogate); remove it.",
        ),
    ],
)
def test_an_invalid_document_is_refused_at_its_place(values: Any, message: str) -> None:
    assert refused(values) == message


def test_the_caller_chooses_the_error() -> None:
    with pytest.raises(TableError):
        validate(Drawing, [], "d.json", error=TableError)
    with pytest.raises(CheckpointError):
        parse_json("{", "d.json", error=CheckpointError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "d.json is not valid JSON at line 1, column 1 (expecting value); "),
        ('{"a": 1,\n }', "d.json is not valid JSON at line 2, column 2 (expecting property name"),
        ("[1] 2", "d.json is not valid JSON at line 1, column 5 (extra data); "),
        (b'{"a": "\xe9"}', "d.json is not UTF-8 text; save it as UTF-8."),
        (
            '{"a": [{"b": 1}, {"b": 1, "c": 2, "b": 3}]}',
            "d.json: a[1] has the key 'b' twice; remove one.",
        ),
        ('{"a": 1, "\\u0061": 2}', "d.json: the top level has the key 'a' twice; remove one."),
        ('{"a": [0, NaN]}', "d.json: a[1] must be a finite number, not NaN."),
        ('{"a": -Infinity}', "d.json: a must be a finite number in the range of float64."),
        ('{"a": 1e999}', "d.json: a must be a finite number in the range of float64."),
        (f'{{"a": {"9" * 350}}}', "d.json: a must be a finite number in the range of float64."),
        (f'{{"a": -{"9" * 9999}}}', "d.json: a must be a finite number in the range of float64."),
        ("[" * 101 + "]" * 101 + "x", "d.json is not valid JSON at line 1, column 203"),
        ("[" * 102 + "]" * 102, "d.json: lists and objects are nested more than 100 levels deep;"),
        ("[" * 100_000, "d.json: lists and objects are nested more than 100 levels deep;"),
        ('{"a":' * 100_000, "d.json: lists and objects are nested more than 100 levels deep;"),
    ],
    ids=range(15),
)
def test_a_text_that_is_not_strict_json_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_json(text, "d.json")
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_bytes_are_read_in_any_unicode_encoding(encoding: str) -> None:
    assert parse_json('{"ä": [1, 2.5, null]}'.encode(encoding), "d") == {"ä": [1, 2.5, None]}


def test_large_integers_stay_exact() -> None:
    assert parse_json(str(2**63 + 1), "d.json") == 2**63 + 1
    assert parse_json(str(-(10**300)), "d.json") == -(10**300)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text('{"a": [1, "b"]}')
    assert read_json(path) == {"a": [1, "b"]}
    with pytest.raises(UsageError, match=r"none\.json does not exist\."):
        read_json(tmp_path / "none.json")
    with pytest.raises(TableError, match=r"cannot be read: Is a directory\."):
        read_json(tmp_path, error=TableError)


def test_models_are_immutable_and_make_a_schema_without_unknown_keys() -> None:
    circle = Circle(radius=1.0)
    with pytest.raises(ValueError, match="frozen"):
        circle.radius = 2.0  # type: ignore[misc]
    assert Drawing.model_json_schema()["additionalProperties"] is False


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ((), ""),
        (("features", 3, "scale"), "features[3].scale"),
        (("map", "Never married", 0), "map['Never married'][0]"),
        (("on-inconclusive",), "on-inconclusive"),
        ((0, "", "a.b"), "[0]['']['a.b']"),
    ],
)
def test_place_names(location: tuple[str | int, ...], name: str) -> None:
    assert place_name(location) == name
