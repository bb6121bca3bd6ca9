"""Options for inputs of a network that are images, texts and arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from fairfix.cli.options.option import advanced, default_text


def input_options(
    codes: Annotated[
        list[str] | None,
        advanced(
            "Columns of whole numbers for embeddings: [ARG=]COLUMN,..., where ARG is the argument "
            "of forward; needed if there are several inputs, --features ARG=COLUMN,... too.",
            "--codes",
        ),
    ] = None,
    image: Annotated[
        list[str] | None, advanced("Column of paths of images: [ARG=]COLUMN.", "--image")
    ] = None,
    text: Annotated[list[str] | None, advanced("Column of texts: [ARG=]COLUMN.", "--text")] = None,
    array: Annotated[
        list[str] | None,
        advanced(
            "File with a row per row of the table: [ARG=]FILE[:KEY], where {table} stands for the "
            "table's name without its suffix.",
            "--array",
        ),
    ] = None,
    input_shape: Annotated[
        list[str] | None,
        advanced(
            "Shape of a row of numbers, codes or an array: [ARG=]C,H,W.",
            "--input-shape",
            default="that of the columns or of the file",
        ),
    ] = None,
    image_size: Annotated[
        str | None,
        advanced(
            "Size to which images are resized: H or H,W.",
            "--image-size",
            default="as preprocessor_config.json or timm's config.json beside the model says, "
            "else that of the files",
        ),
    ] = None,
    image_scale: Annotated[
        float | None,
        advanced(
            "Factor of the pixels, which are 0 to 255.",
            "--image-scale",
            default="as above, else 1/255",
        ),
    ] = None,
    image_mean: Annotated[
        str | None,
        advanced(
            "Mean of the scaled pixels, one or one per channel.",
            "--image-mean",
            default="as above, else 0",
        ),
    ] = None,
    image_std: Annotated[
        str | None,
        advanced(
            "Standard deviation of the scaled pixels, likewise.",
            "--image-std",
            default="as above, else 1",
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        advanced(
            "Folder of the tokenizer.", "--tokenizer", default="that of the model, if it has one"
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        advanced("Most tokens of a text.", "--max-length", default="as the tokenizer says"),
    ] = None,
) -> None: ...


def file_options(
    image_root: Annotated[
        Path | None,
        advanced(
            "Folder, .zip or .tar file with the images.",
            "--image-root",
            default="the folder of the table",
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        advanced(
            "Folder for decoded images and tokens.",
            "--cache",
            default="FAIRFIX_CACHE, else the user's cache folder",
        ),
    ] = None,
    on_bad_row: Annotated[
        Literal["fail", "skip"] | None,
        advanced(
            "Refuse a table with a row whose image, text or array entry cannot be used, or leave "
            "such rows out.",
            "--on-bad-row",
            default=default_text("on_bad_row"),
        ),
    ] = None,
) -> None: ...
