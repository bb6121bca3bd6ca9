"""Decode one image file to 8-bit channels, exactly as the settings say, with Pillow."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import torch
from pydantic import Field, ValidationInfo, field_validator

from fairfix._utils.optional_packages import needed_for
from fairfix._utils.strict_json import StrictModel
from fairfix._utils.text import error_summary
from fairfix.data.inputs.image_files import RowError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

MAX_PIXELS = 1 << 26
"""Most pixels of an image, as it is stored and after resizing."""

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # none of them runs programs
_GRAY = {"1", "L", "LA", "La", "I;16", "I;16L", "I;16B"}
_ORIENTATION = 0x0112  # of EXIF

Side = Annotated[int, Field(ge=1, le=1 << 14)]


class Resize(StrictModel):
    """How an image is resized, before it is cropped.

    Attributes:
        shortest: length of the shorter side; the other one keeps the proportions.
        exact: height and width.
        filter: the filter of interpolation.
        antialias: whether the filter widens when an image shrinks, as Pillow's do.
    """

    shortest: Side | None = None
    exact: tuple[Side, Side] | None = None
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] = "bilinear"
    antialias: bool = True

    @field_validator("antialias")
    @classmethod
    def _check_antialias(cls, antialias: bool, info: ValidationInfo) -> bool:
        if not antialias and info.data.get("filter") not in ("bilinear", "bicubic"):
            raise ValueError("can be false for the filters 'bilinear' and 'bicubic' only")
        return antialias

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the new height and width of an image, as torchvision computes them."""
        if self.exact is not None:
            return self.exact
        assert self.shortest is not None
        long = int(self.shortest * max(height, width) / min(height, width))
        return (self.shortest, long) if height <= width else (long, self.shortest)


class PixelSettings(StrictModel):
    """How pixels are made of a file.

    Attributes:
        mode: color channels; None keeps gray or color as the file has it.
        resize: before cropping.
        crop: height and width of the part in the middle.
        crop_offset: how half a pixel is rounded: to even as by torchvision, or down as by
            transformers.
        alpha: what becomes of transparent pixels: "refuse", "drop" shows the hidden colors, or
            the color behind them.
        exif: whether images are turned as their EXIF data say.
        high_depth: what becomes of 16 bits a channel: "refuse", or "high byte".
    """

    mode: Literal["L", "RGB", "RGBA"] | None = None
    resize: Resize | None = None
    crop: tuple[Side, Side] | None = None
    crop_offset: Literal["round", "floor"] = "round"
    alpha: Literal["refuse", "drop", "white", "black"] = "refuse"
    exif: bool = False
    high_depth: Literal["refuse", "high byte"] = "refuse"

    @field_validator("resize")
    @classmethod
    def _check_resize(cls, resize: Resize | None) -> Resize | None:
        if resize is not None and (resize.shortest is None) == (resize.exact is None):
            raise ValueError("must have one of the keys 'shortest' and 'exact'")
        return resize


def check_pillow() -> str:
    """Return the version of Pillow.

    Raises:
        MissingPackageError: it is not installed.
    """
    with needed_for("Reading images", "Pillow", "vision"):
        import PIL
    return str(PIL.__version__)


@dataclass(frozen=True)
class Decoded:
    """An image.

    Attributes:
        pixels: (C, H, W) uint8.
        oriented: whether its EXIF data say that it is shown turned, which the settings ignore.
    """

    pixels: np.ndarray
    oriented: bool

    @property
    def digest(self) -> bytes:
        """A hash of the pixels, 16 bytes."""
        return hashlib.blake2b(self.pixels.tobytes(), digest_size=16).digest()


def decode(content: bytes, settings: PixelSettings) -> Decoded:
    """Decode an image file.

    Raises:
        RowError: it cannot be decoded, or the settings refuse it.
    """
    from PIL import Image as Images
    from PIL import ImageOps, UnidentifiedImageError

    try:
        with Images.open(io.BytesIO(content), formats=_FORMATS) as image:
            _check(image, settings)
            oriented = image.getexif().get(_ORIENTATION, 1) not in (0, 1)
            turned = ImageOps.exif_transpose(image) if settings.exif else image
            channels = _in_mode(turned, settings)
    except RowError:
        raise
    except UnidentifiedImageError:
        raise RowError(f"it is not an image of a known format ({', '.join(_FORMATS)})") from None
    except MemoryError:
        raise RowError("it needs too much memory") from None
    except Exception as error:  # decoders of damaged files raise anything
        raise RowError(f"it cannot be decoded ({error_summary(error)})") from None
    pixels = _crop(_resized(channels, settings.resize), settings)
    return Decoded(np.ascontiguousarray(pixels.transpose(2, 0, 1)), oriented and not settings.exif)


def _check(image: ImageFile, settings: PixelSettings) -> None:
    """Raise RowError for an image that is too large or too deep, or has several frames."""
    width, height = image.size
    _check_pixels(height, width, "it has")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a camera's JPEG with its own previews
        raise RowError(f"it has {frames} frames")
    if image.mode in ("I", "F"):
        raise RowError(f"its pixels are {image.mode}, not 8 or 16 bits; convert it or use an array")
    stored = [str(tile[3]) for tile in image.tile]
    deep = image.mode.startswith("I;16") or any("16" in mode for mode in stored)
    if deep and settings.high_depth == "refuse":
        raise RowError("it has 16 bits a channel; choose what becomes of them (high_depth)")


def _check_pixels(height: int, width: int, what: str) -> None:
    if height * width > MAX_PIXELS:
        raise RowError(f"{what} {width} x {height} pixels, more than {MAX_PIXELS:,}")


def _in_mode(image: Image, settings: PixelSettings) -> Image:
    """Return an image in the mode of the settings, L, RGB or RGBA."""
    from PIL import Image as Images

    if image.mode.startswith("I;16"):  # Pillow keeps the high bytes of colors, but clips gray
        image = Images.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    mode = settings.mode or ("L" if image.mode in _GRAY else "RGB")
    if mode == "RGBA" or not image.has_transparency_data:
        return image.convert(mode)
    colors = image.convert("RGBA")
    if colors.getchannel("A").getextrema()[0] == 255 or settings.alpha == "drop":
        return colors.convert("RGB").convert(mode)
    if settings.alpha == "refuse":
        raise RowError("it has transparent pixels; choose what becomes of them (alpha)")
    behind = Images.new("RGBA", image.size, settings.alpha)
    return Images.alpha_composite(behind, colors).convert("RGB").convert(mode)


def _resized(image: Image, resize: Resize | None) -> np.ndarray:
    """Return the pixels (H, W, C)."""
    if resize is not None:
        height, width = resize.size(image.height, image.width)
        _check_pixels(height, width, "it is resized to")
        if resize.antialias:
            from PIL import Image as Images

            method = Images.Resampling[resize.filter.upper()]
            image = image.resize((width, height), method)
        elif (height, width) != (image.height, image.width):
            return _interpolated(_pixels(image), height, width, resize.filter)
    return _pixels(image)


def _pixels(image: Image) -> np.ndarray:
    return np.asarray(image, np.uint8).reshape(image.height, image.width, -1)


def _interpolated(pixels: np.ndarray, height: int, width: int, method: str) -> np.ndarray:
    """Resize without antialiasing, as torchvision does with tensors."""
    values = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()
    resized = torch.nn.functional.interpolate(values, (height, width), mode=method)
    return resized[0].round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def _crop(pixels: np.ndarray, settings: PixelSettings) -> np.ndarray:
    if settings.crop is None:
        return pixels
    sizes = pixels.shape[:2]
    if any(size < side for size, side in zip(sizes, settings.crop, strict=True)):
        raise RowError(
            f"it has {sizes[1]} x {sizes[0]} pixels, too few for the crop of {settings.crop[1]} x "
            f"{settings.crop[0]}; resize it"
        )
    halves = [(size - side) / 2 for size, side in zip(sizes, settings.crop, strict=True)]
    top, left = (round(half) if settings.crop_offset == "round" else int(half) for half in halves)
    return pixels[top : top + settings.crop[0], left : left + settings.crop[1]]
