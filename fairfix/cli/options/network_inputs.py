"""Options for inputs of a network that are images, texts and arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from fairfix.cli.options.option import advanced, default_text


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
