"""Arguments of the library say what the options of the command line say."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairfix.data.inputs import InputOptions as FileOptions
from fairfix.data.spec.given_inputs import GivenInputs
from fairfix.workflows.library_arguments import InputOptions, input_options


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"codes": "job,city"}, GivenInputs(codes=("job,city",))),
        ({"codes": ["job", "a, b"]}, GivenInputs(codes=('job,"a, b"',))),
        (
            {"codes": {"x_cat": ["job", "city"], "x_zip": "zip"}},
            GivenInputs(codes=("x_cat=job,city", "x_zip=zip")),
        ),
        ({"image": "file", "image_size": 4}, GivenInputs(image=("file",), image_size="4")),
        (
            {
                "image": {"x": "file"},
                "image_size": (6, 4),
                "image_scale": 1,
                "image_mean": [0.5, 0.4, 0.3],
            },
            GivenInputs(
                image=("x=file",), image_size="6,4", image_scale=1, image_mean="0.5,0.4,0.3"
            ),
        ),
        (
            {"text": "review", "tokenizer": "tokens", "max_length": 16},
            GivenInputs(text=("review",), tokenizer=Path("tokens"), max_length=16),
        ),
        (
            {"array": {"x": "{table}.npz:x"}, "input_shape": {"x": (3, 32, 32)}},
            GivenInputs(array=("x={table}.npz:x",), input_shape=("x=3,32,32",)),
        ),
        ({"input_shape": (1, 2, 2)}, GivenInputs(input_shape=("1,2,2",))),
    ],
)
def test_inputs_are_written_as_on_the_command_line(
    given: InputOptions, expected: GivenInputs
) -> None:
    assert input_options(given) == (FileOptions(), expected)


def test_how_files_are_read_is_apart() -> None:
    given: InputOptions = {"image_root": "images", "cache": Path("cache"), "on_bad_row": "skip"}
    files = FileOptions(image_root=Path("images"), cache=Path("cache"), on_bad_row="skip")
    assert input_options(given) == (files, GivenInputs())
    assert input_options(None) == (FileOptions(), GivenInputs())
