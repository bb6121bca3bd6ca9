"""The preprocessing that lies beside a model: image settings of transformers, and a tokenizer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fairfix._utils.strict_json import read_json
from fairfix.data.inputs.tokenizer_folder import has_tokenizer
from fairfix.errors import InputError

CONFIG = "preprocessor_config.json"
_TYPE = re.compile(r"(\w+?)(ImageProcessor(Fast|Pil)?|FeatureExtractor)")
_SQUARE = {"ViT", "DeiT", "Beit", "Siglip"}  # a plain number as size is that of both sides
_SHORTEST = {"CLIP", "Bit", "MobileNetV1", "MobileNetV2", "ConvNext"}
_STEPS = ("do_resize", "do_rescale", "do_normalize")
_UNSUPPORTED = ("do_pad", "do_flip_channel_order", "rescale_offset", "auto_map")
_FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # Pillow's numbers
_CONVNEXT_CROP, _CONVNEXT_WHOLE = 224 / 256, 384
_CODE = re.compile(r".*transforms?.*\.(pt|pth|pkl|pickle|joblib|py)", re.IGNORECASE)


def tokenizer_beside(model: Path) -> Path | None:
    """Return the folder of a model if it has the files of a tokenizer, else None."""
    folder = _folder(model)
    return folder if has_tokenizer(folder) else None


def image_settings_beside(model: Path) -> dict[str, Any] | None:
    """Return how images are decoded and scaled for a model, by the file beside it.

    Args:
        model: its file or folder.

    Returns:
        Keys of an image in a data spec; None if there is no ``preprocessor_config.json``.

    Raises:
        InputError: the file has steps other than those of a data spec, or lacks some; or only code
            lies beside the model, which is never run.
    """
    folder = _folder(model)
    path = folder / CONFIG
    if not path.exists():
        code = sorted(each.name for each in folder.iterdir() if _CODE.fullmatch(each.name))
        if code:
            raise InputError(
                f"{code[0]} beside the model looks like transforms of torchvision, which are code "
                "and not read; give their size, mean and standard deviation, or a data spec."
            )
        return None
    config = read_json(path, error=InputError)
    try:
        return _settings(config)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        lacking = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{CONFIG} cannot be followed ({lacking}); describe the images in a data spec."
        ) from None


def _folder(model: Path) -> Path:
    return model if model.is_dir() else model.parent


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    name = str(config.get("image_processor_type") or config["feature_extractor_type"])
    found = _TYPE.fullmatch(name)
    family = found[1] if found else name
    if family not in _SQUARE | _SHORTEST:
        raise ValueError(f"it is of the type {name}")
    for key in _UNSUPPORTED:
        if config.get(key):
            raise ValueError(f"it has {key}")
    resize, rescale, normalize = (_flag(config, key) for key in _STEPS)
    mean, std = (
        _numbers(config, key) if normalize else None for key in ("image_mean", "image_std")
    )
    settings: dict[str, Any] = {
        "mode": "L" if mean is not None and len(mean) == 1 else "RGB",
        "crop_offset": "floor",
        "scale": float(config["rescale_factor"]) if rescale else 1.0,
    }
    if mean is not None and std is not None:
        settings |= {"mean": mean, "std": std}
    if resize:
        settings |= (
            _convnext(config) if family == "ConvNext" else {"resize": _resize(config, family)}
        )
    if config.get("do_center_crop"):
        settings["crop"] = _sides(config["crop_size"])
    return settings


def _flag(config: dict[str, Any], key: str) -> bool:
    if not isinstance(config[key], bool):
        raise ValueError(f"{key} is {config[key]!r}")
    return bool(config[key])


def _numbers(config: dict[str, Any], key: str) -> list[float]:
    return [float(each) for each in config[key]]


def _sides(size: Any) -> list[int]:
    """Return height and width."""
    if isinstance(size, int):
        return [size, size]
    return [int(size["height"]), int(size["width"])]


def _filter(config: dict[str, Any]) -> str:
    return _FILTERS[int(config["resample"])]


def _resize(config: dict[str, Any], family: str) -> dict[str, Any]:
    size = config["size"]
    if isinstance(size, int) and family in _SHORTEST:
        size = {"shortest_edge": size}
    if isinstance(size, dict) and "shortest_edge" in size:
        if size.get("longest_edge"):
            raise ValueError("it limits the longest edge")
        return {"shortest": int(size["shortest_edge"]), "filter": _filter(config)}
    return {"exact": _sides(size), "filter": _filter(config)}


def _convnext(config: dict[str, Any]) -> dict[str, Any]:
    """Return resize and crop: below 384 pixels, the middle of a larger image is taken."""
    size = config["size"]
    side = int(size if isinstance(size, int) else size["shortest_edge"])
    if side >= _CONVNEXT_WHOLE:
        return {"resize": {"exact": [side, side], "filter": _filter(config)}}
    shortest = int(side / float(config.get("crop_pct") or _CONVNEXT_CROP))
    resize = {"shortest": shortest, "filter": _filter(config)}
    return {"resize": resize, "crop": [side, side]}
