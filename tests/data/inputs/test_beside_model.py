"""Preprocessing beside a model, against the image processors of transformers."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fairfix.data.spec import InputsSpec, find_spec
from fairfix.data.spec.beside_model import image_settings_beside, tokenizer_beside
from fairfix.errors import InputError
from tests.data.inputs.conftest import Read

VIT = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 24, "width": 20},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.3, 0.4],
}
CLIP = VIT | {
    "image_processor_type": "CLIPImageProcessorFast",
    "size": 27,
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 24, "width": 24},
}
CONVNEXT = VIT | {"image_processor_type": "ConvNextFeatureExtractor", "size": {"shortest_edge": 32}}
SCALING = {"scale": 1 / 255, "mean": VIT["image_mean"], "std": VIT["image_std"]}
COMMON = SCALING | {"mode": "RGB", "crop_offset": "floor"}


def configured(folder: Path, config: dict[str, Any]) -> Path:
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    return folder / "model.safetensors"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (VIT, COMMON | {"resize": {"exact": [24, 20], "filter": "bilinear"}}),
        (VIT | {"size": 24}, COMMON | {"resize": {"exact": [24, 24], "filter": "bilinear"}}),
        (CLIP, COMMON | {"resize": {"shortest": 27, "filter": "bicubic"}, "crop": [24, 24]}),
        (CONVNEXT, COMMON | {"resize": {"shortest": 36, "filter": "bilinear"}, "crop": [32, 32]}),
        (
            CONVNEXT | {"size": {"shortest_edge": 384}},
            COMMON | {"resize": {"exact": [384, 384], "filter": "bilinear"}},
        ),
        (
            VIT | {"do_resize": False, "do_rescale": False, "do_normalize": False},
            {"mode": "RGB", "crop_offset": "floor", "scale": 1.0},
        ),
        (
            VIT | {"do_resize": False, "image_mean": [0.5], "image_std": [0.2]},
            COMMON | {"mode": "L", "mean": [0.5], "std": [0.2]},
        ),
    ],
)
def test_a_configuration_becomes_image_settings(
    tmp_path: Path, config: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = image_settings_beside(configured(tmp_path, config))
    assert found == expected
    assert image_settings_beside(tmp_path) == expected
    entry = {"kind": "image", "column": "file", **expected}
    InputsSpec.from_json({"version": 2, "inputs": {"pixel_values": entry}})


@pytest.mark.parametrize(("name", "config"), [("vit", VIT), ("clip", CLIP), ("convnext", CONVNEXT)])
def test_pixels_are_those_of_transformers(
    read: Read, tmp_path: Path, name: str, config: dict[str, Any]
) -> None:
    images = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")
    try:
        module = import_module(f"transformers.models.{name}.image_processing_pil_{name}")
    except ModuleNotFoundError:
        pytest.skip("this version of transformers has no image processors that use Pillow")
    family = {"vit": "ViT", "clip": "CLIP", "convnext": "ConvNext"}[name]
    values = {k: v for k, v in config.items() if k != "image_processor_type"}
    processor = getattr(module, f"{family}ImageProcessorPil")(**values)
    colors = np.random.default_rng(0).integers(0, 256, (4, 43, 57, 3), dtype=np.uint8)
    pictures = [images.fromarray(each[i:]) for i, each in enumerate(colors)]
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / f"{i}.png")
    settings = image_settings_beside(configured(tmp_path, config))
    assert settings is not None
    entry = {"kind": "image", "column": "file", **settings}
    inputs = read({"pixel_values": entry}, {"file": [f"{i}.png" for i in range(4)]}).inputs
    assert inputs is not None
    expected = processor(pictures, return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(inputs.batch().kwargs["pixel_values"].numpy(), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image_processor_type": "DonutImageProcessor"},
            "(it is of the type DonutImageProcessor)",
        ),
        ({"do_pad": True}, "(it has do_pad)"),
        ({"auto_map": {"AutoImageProcessor": "evil.Processor"}}, "(it has auto_map)"),
        ({"do_resize": None}, "(do_resize is None)"),
        ({"size": {"longest_edge": 9}}, "(lacks 'height')"),
        ({"size": {"shortest_edge": 9, "longest_edge": 12}}, "(it limits the longest edge)"),
        ({"resample": 9}, "(tuple index out of range)"),
    ],
)
def test_what_a_data_spec_cannot_say_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as raised:
        image_settings_beside(configured(tmp_path, VIT | change))
    assert str(raised.value) == (
        f"preprocessor_config.json cannot be followed {message}; describe the images in a data "
        "spec."
    )


TIMM = {
    "architecture": "resnet18",
    "num_classes": 2,
    "pretrained_cfg": {
        "input_size": [3, 24, 24],
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.3, 0.4],
    },
}


def of_timm(folder: Path, config: dict[str, Any] = TIMM, **images: Any) -> Path:
    content = config | {"pretrained_cfg": TIMM["pretrained_cfg"] | images}
    (folder / "config.json").write_text(json.dumps(content))
    return folder / "model.safetensors"


def test_pixels_are_those_of_the_evaluation_transform_of_timm(read: Read, tmp_path: Path) -> None:
    """Written out with Pillow: the shorter side is 24 / .875 = 27, and the middle is taken."""
    images = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    colors = np.random.default_rng(0).integers(0, 256, (43, 57, 3), dtype=np.uint8)
    picture = images.fromarray(colors)
    picture.save(tmp_path / "0.png")
    settings = image_settings_beside(of_timm(tmp_path))
    assert settings is not None
    inputs = read({"x": {"kind": "image", "column": "file", **settings}}, {"file": ["0.png"] * 4})
    resized = picture.resize((int(27 * 57 / 43), 27), images.Resampling.BICUBIC)
    left, top = round((35 - 24) / 2), round((27 - 24) / 2)
    pixels = np.float32(resized)[top : top + 24, left : left + 24] / np.float32(255)
    expected = (pixels - np.float32([0.5, 0.4, 0.3])) / np.float32([0.2, 0.3, 0.4])
    assert inputs.inputs is not None
    found = inputs.inputs.batch().tensors[0]
    np.testing.assert_allclose(found.numpy()[0], expected.transpose(2, 0, 1), atol=1e-6)


def test_settings_of_timm_in_its_other_forms(tmp_path: Path) -> None:
    squash = of_timm(tmp_path, crop_mode="squash", input_size=[1, 30, 20], crop_pct=0.9)
    found = image_settings_beside(squash)
    assert found is not None
    assert found["resize"] == {"exact": [33, 22], "filter": "bicubic"}
    assert (found["mode"], found["crop"]) == ("L", [30, 20])
    older = {"architecture": "resnet18", **TIMM["pretrained_cfg"]}
    (tmp_path / "config.json").write_text(json.dumps(older))
    expected = {"shortest": 27, "filter": "bicubic"}
    assert (image_settings_beside(tmp_path) or {})["resize"] == expected
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "mine", "width": 3}))
    assert image_settings_beside(tmp_path) is None
    (tmp_path / "config.json").write_text("no JSON")
    assert image_settings_beside(tmp_path) is None


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({"crop_mode": "border"}, "(crop_mode is 'border' for 24 x 24 pixels)"),
        ({"input_size": [3, 24, 20]}, "(crop_mode is 'center' for 24 x 20 pixels)"),
        ({"input_size": [4, 24, 24]}, "(its images have 4 channels)"),
        ({"interpolation": "random"}, "(interpolation is 'random')"),
        ({"crop_pct": 1.2}, "(crop_pct is 1.2)"),
        ({"mean": None}, "('NoneType' object is not iterable)"),
    ],
)
def test_what_timm_alone_can_do_is_refused(
    tmp_path: Path, images: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as raised:
        image_settings_beside(of_timm(tmp_path, **images))
    assert str(raised.value).startswith(f"config.json cannot be followed {message}; describe")


def test_transforms_of_torchvision_are_named_as_code(tmp_path: Path) -> None:
    assert image_settings_beside(tmp_path / "model.pt") is None
    (tmp_path / "val_transform.pkl").write_bytes(b"")
    with pytest.raises(InputError, match=r"val_transform\.pkl beside .* are code and not read"):
        image_settings_beside(tmp_path / "model.pt")


def test_a_tokenizer_beside_the_model_is_found(tmp_path: Path) -> None:
    assert tokenizer_beside(tmp_path / "model.pt") is None
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert tokenizer_beside(tmp_path) is None
    (tmp_path / "vocab.txt").write_text("[PAD]")
    assert tokenizer_beside(tmp_path / "model.pt") == tokenizer_beside(tmp_path) == tmp_path


def test_a_folder_may_hold_its_data_spec(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    image = {"kind": "image", "column": "file"}
    spec = {"version": 2, "inputs": {"pixel_values": image}}
    (folder / "model.data.json").write_text(json.dumps(spec))
    found = find_spec(folder)
    assert isinstance(found, InputsSpec)
    assert found.folder == folder
    beside = {"version": 2, "inputs": {"x": image}}
    (tmp_path / "model.data.json").write_text(json.dumps(beside))
    found = find_spec(folder)
    assert found is not None
    assert list(found.to_json()["inputs"]) == ["x"]
