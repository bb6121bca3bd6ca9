"""The preprocessing beside a model: image settings of transformers or timm, and a tokenizer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairfix._utils.strict_json import read_json
from fairfix.data.inputs.tokenizer_folder import has_tokenizer
from fairfix.errors import InputError
from fairfix.models.checkpoint.configuration import CONFIG, image_config_of, timm_architecture

_PROCESSOR = "preprocessor_config.json"
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
        Keys of an image in a data spec; None if there is neither a ``preprocessor_config.json`` nor
        a ``config.json`` of timm.

    Raises:
        InputError: the file has steps other than those of a data spec, or lacks some; or only code
            lies beside the model, which is never run.
    """
    folder = _folder(model)
    path, follow = folder / _PROCESSOR, _settings
    if not path.exists():
        path, follow = folder / CONFIG, _timm_settings
    config = _config_of(path)
    if config is None:
        code = sorted(each.name for each in folder.iterdir() if _CODE.fullmatch(each.name))
        if code:
            raise InputError(
                f"{code[0]} beside the model looks like transforms of torchvision, which are code "
                "and not read; give their size, mean and standard deviation, or a data spec."
            )
        return None
    try:
        return follow(config)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        lacking = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{path.name} cannot be followed ({lacking}); describe the images in a data spec."
        ) from None


def _config_of(path: Path) -> Any:
    """Return the content of a file with image settings; None if it is missing or has none."""
    if not path.exists():
        return None
    if path.name == _PROCESSOR:
        return read_json(path, error=InputError)
    try:
        config = read_json(path, error=InputError)
    except InputError:  # it may belong to something else
        return None
    return config if timm_architecture(config) is not None else None


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


def _timm_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of timm for evaluation: resize, crop the middle, and scale."""
    images: Mapping[str, Any] = image_config_of(config)
    channels, *sides = (int(each) for each in images["input_size"])
    if channels not in (1, 3):
        raise ValueError(f"its images have {channels} channels")
    share, mode = float(images["crop_pct"]), str(images.get("crop_mode", "center"))
    if not 0 < share <= 1:
        raise ValueError(f"crop_pct is {share:g}")
    larger = [math.floor(side / share) for side in sides]
    if mode == "squash":
        resize: dict[str, Any] = {"exact": larger}
    elif mode == "center" and larger[0] == larger[1]:
        resize = {"shortest": larger[0]}
    else:
        raise ValueError(f"crop_mode is {mode!r} for {sides[0]} x {sides[1]} pixels")
    if images["interpolation"] not in _FILTERS:
        raise ValueError(f"interpolation is {images['interpolation']!r}")
    return {
        "mode": "L" if channels == 1 else "RGB",
        "resize": {**resize, "filter": images["interpolation"]},
        "crop": sides,
        "mean": [float(each) for each in images["mean"]],
        "std": [float(each) for each in images["std"]],
    }
