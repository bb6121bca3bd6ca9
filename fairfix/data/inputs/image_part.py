"""An input of images: decoded once to 8-bit pixels in a file, scaled on the device."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from fairfix._utils.text import plural
from fairfix.data.inputs.cell_texts import CellTexts
from fairfix.data.inputs.image_cache import decode_images
from fairfix.data.inputs.image_decoding import PixelSettings, check_pillow
from fairfix.data.inputs.image_files import open_images
from fairfix.data.inputs.mapped_array import MappedArray
from fairfix.data.inputs.part_builder import BuiltPart, Source, TableRows
from fairfix.data.inputs.pixel_scaling import divisor, scaled
from fairfix.errors import InputError, TableError
from fairfix.models.inputs import Rows, digests_of

_BANDS = {"L": 1, "RGB": 3, "RGBA": 4}


class ImageEntry(PixelSettings):
    """A column of paths of images, which become float32 (C, H, W): (pixel * scale - mean) / std.

    Attributes:
        column: paths relative to the folder of the table, or to the image root.
        scale: factor of the pixels, which are 0 to 255.
        mean, std: one number, or one per channel.
    """

    kind: Literal["image"] = "image"
    column: str
    scale: float = Field(1 / 255, gt=0)
    mean: tuple[float, ...] = Field((0.0,), min_length=1)
    std: tuple[float, ...] = Field((1.0,), min_length=1)

    @field_validator("mean", "std")
    @classmethod
    def _check_channels(cls, values: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        bands = _BANDS.get(info.data.get("mode") or "", len(values))
        if len(values) not in (1, bands):
            raise ValueError(f"must have 1 or {bands} numbers, not {len(values)}")
        if info.field_name == "std" and min(values) <= 0:
            raise ValueError("must be above 0")
        return values

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return (self.column,)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Names of those columns that it reads as text: all."""
        return self.columns

    @property
    def pixels(self) -> PixelSettings:
        """How pixels are made of a file."""
        return PixelSettings(**{name: getattr(self, name) for name in PixelSettings.model_fields})

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the file."""
        return self.model_dump(mode="json", exclude_none=True)

    def builder(self, name: str, source: Source) -> ImageBuilder:
        """Return the builder of the input of this name.

        Raises:
            InputError: the root of the images cannot be read.
            UsageError: Pillow is not installed.
        """
        return ImageBuilder(name, self, source)


class ImageBuilder(CellTexts):
    """Collects the paths, then decodes the images or finds them in the cache."""

    def __init__(self, name: str, entry: ImageEntry, source: Source) -> None:
        super().__init__(entry.column)
        check_pillow()
        self._name, self._entry = name, entry
        self._files = open_images(source.options.image_root or source.table.parent)
        self._cache = source.options.cache

    def build(self, rows: TableRows) -> BuiltPart:
        """See ``PartBuilder``."""
        names = [name.strip() for name in self.texts]
        found = decode_images(self._files, names, self._entry.pixels, self._cache)
        if found.pixels is None or found.digests is None or len(found.bad) == rows.count:
            raise TableError(
                f"{rows.file}, column {self._entry.column!r}: none of the images can be used "
                f"(first: {rows.locate(0)}: {found.bad[0]}); correct the paths, or name "
                "their folder or archive with --image-root."
            )
        notes = [self._described(found.pixels.shape)]
        if found.oriented:
            images = plural(found.oriented, "image has", "images have")
            notes.append(f"{images} an EXIF orientation that is ignored; exif: true turns them")
        index = torch.from_numpy(found.index)
        part = ImagePart(self._name, found.pixels, found.digests, index, self._entry)
        return BuiltPart(part, found.bad, tuple(notes), found.sha256, measured=True)

    def _described(self, shape: tuple[int, ...]) -> str:
        """Say how images are decoded, and check that there is a mean for each channel."""
        entry, bands = self._entry, shape[1]
        for values in (entry.mean, entry.std):
            if len(values) not in (1, bands):
                raise InputError(
                    f"The images of {entry.column!r} have {plural(bands, 'channel', 'channels')}, "
                    f"but there are {len(values)} means or standard deviations; correct the mode."
                )
        color = {1: "gray", 3: "RGB", 4: "RGBA"}[bands]
        scale = f"1/{round(1 / entry.scale)}" if divisor(entry.scale) else f"{entry.scale:g}"
        return (
            f"images of {entry.column!r} are {color}, {shape[3]} x {shape[2]}, pixels times "
            f"{scale}, less {_listed(entry.mean)}, divided by {_listed(entry.std)}"
        )


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


class ImagePart:
    """Images that stay in their file.

    Args:
        key: name of the argument.
        pixels: (M, C, H, W) uint8.
        digests: (M, 16) uint8, hashes of the pixels.
        index: (N,) int64, the image of each row.
        entry: how pixels are scaled.
    """

    def __init__(
        self,
        key: str,
        pixels: MappedArray,
        digests: MappedArray,
        index: Tensor,
        entry: ImageEntry,
    ) -> None:
        self.keys = (key,)
        self._pixels, self._digests, self._index, self._entry = pixels, digests, index, entry

    def __len__(self) -> int:
        """Return the number of rows, N."""
        return len(self._index)

    def take(self, index: Tensor) -> ImagePart:
        """See ``Part.take``."""
        rows = self._index[index.cpu()]
        return ImagePart(self.keys[0], self._pixels, self._digests, rows, self._entry)

    def to(self, device: torch.device) -> ImagePart:
        """Return itself: the images stay in their file."""
        return self

    def load(self, rows: Rows, device: torch.device) -> tuple[Tensor, ...]:
        """See ``Part.load``."""
        index = self._index[rows.cpu() if isinstance(rows, Tensor) else rows]
        values, entry = self._pixels.rows(index).to(device), self._entry
        return (scaled(values, entry.scale, entry.mean, entry.std),)

    def pixels(self, rows: Tensor) -> np.ndarray:
        """Return the images of some rows (n,) before they are scaled, (n, H, W, C) uint8."""
        return self._pixels.rows(self._index[rows.cpu()]).permute(0, 2, 3, 1).numpy()

    def lengths(self) -> None:
        """Return None, for all images have the same size."""

    def digests(self) -> np.ndarray:
        """See ``Part.digests``."""
        scaling = [self._entry.scale, *self._entry.mean, *self._entry.std]
        setting = np.frombuffer(hashlib.blake2b(np.array(scaling).tobytes()).digest(), np.uint8)
        images = self._digests.array[self._index.numpy()]
        return digests_of(np.concatenate([image, setting]) for image in images)
