"""Images as inputs: pixels, files that are refused, archives, and the cache."""

from __future__ import annotations

import copy
import io
import pickle
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fairfix._utils.progress import progress_callback
from fairfix.data.inputs import image_cache
from fairfix.data.table import Table
from fairfix.errors import FairfixError, InputError, OutputError, UsageError
from tests.data.inputs.conftest import Read

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
RNG = np.random.default_rng(0)
COLORS = RNG.integers(0, 256, (4, 11, 14, 3), dtype=np.uint8)  # (N, H, W, C)
FILES = {"file": [f"{i}.png" for i in range(4)]}


def image(**settings: Any) -> dict[str, Any]:
    return {"pixels": {"kind": "image", "column": "file", **settings}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four color images beside the table."""
    for name, colors in zip(FILES["file"], COLORS, strict=True):
        Image.fromarray(colors).save(tmp_path / name)
    return tmp_path


def pixels(table: Table) -> np.ndarray:
    """What the network gets, (N, C, H, W)."""
    assert table.inputs is not None
    return table.inputs.batch().kwargs["pixels"].numpy()


def chw(images: np.ndarray) -> np.ndarray:
    return np.moveaxis(images, -1, 1).astype(np.float32)


def one(read: Read, tmp_path: Path, picture: Any, **settings: Any) -> np.ndarray:
    """The pixels (C, H, W) of one picture in all rows, before scaling."""
    picture.save(tmp_path / "one.png")
    return pixels(read(image(scale=1.0, **settings), {"file": ["one.png"] * 4}))[0]


def test_pixels_are_scaled_and_standardized_in_float32(read: Read, folder: Path) -> None:
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    table = read(image(mode="RGB", mean=mean, std=std), FILES)
    shaped = [np.array(each, np.float32).reshape(3, 1, 1) for each in (mean, std)]
    expected = (chw(COLORS) / np.float32(255) - shaped[0]) / shaped[1]
    np.testing.assert_array_equal(pixels(table), expected)
    assert pixels(table).dtype == np.float32
    assert any("RGB, 14 x 11, pixels times 1/255, less 0.485" in note for note in table.notes)


def test_other_scales_multiply(read: Read, folder: Path) -> None:
    got = pixels(read(image(scale=0.013, mean=[1], std=[2]), FILES))
    np.testing.assert_array_equal(got, (chw(COLORS) * np.float32(0.013) - 1) / 2)


def test_gray_from_color_and_color_from_gray(read: Read, tmp_path: Path) -> None:
    color = Image.fromarray(COLORS[0])
    gray = color.convert("L")
    np.testing.assert_array_equal(one(read, tmp_path, color, mode="L")[0], np.asarray(gray))
    got = one(read, tmp_path, gray, mode="RGB")
    np.testing.assert_array_equal(got, np.stack([np.asarray(gray)] * 3))
    assert one(read, tmp_path, gray).shape == (1, 11, 14)


def test_a_palette_gives_colors_not_indices(read: Read, tmp_path: Path) -> None:
    picture = Image.fromarray(COLORS[0]).quantize(16)
    expected = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(one(read, tmp_path, picture), np.moveaxis(expected, -1, 0))


@pytest.mark.parametrize(
    ("alpha", "expected"), [("drop", 200), ("white", 227), ("black", 100), ("refuse", None)]
)
def test_transparent_pixels_are_what_the_spec_says(
    read: Read, tmp_path: Path, alpha: str, expected: int | None
) -> None:
    picture = Image.new("RGBA", (4, 4), (200, 200, 200, 128))
    if expected is None:
        with pytest.raises(FairfixError, match="it has transparent pixels; choose what becomes"):
            one(read, tmp_path, picture, alpha=alpha)
    else:
        got = one(read, tmp_path, picture, alpha=alpha)
        assert abs(got - expected).max() <= 1
        assert got.shape == (3, 4, 4)


def test_an_opaque_alpha_channel_needs_no_choice(read: Read, tmp_path: Path) -> None:
    picture = Image.fromarray(COLORS[0]).convert("RGBA")
    got = one(read, tmp_path, picture)
    np.testing.assert_array_equal(got, np.moveaxis(COLORS[0], -1, 0))
    assert one(read, tmp_path, picture, mode="RGBA").shape == (4, 11, 14)


def test_16_bits_are_not_clipped(read: Read, tmp_path: Path) -> None:
    deep = np.array([[0, 255, 256, 65535], [1000, 40000, 300, 511]], np.uint16)
    picture = Image.fromarray(deep)
    with pytest.raises(FairfixError, match="it has 16 bits a channel; choose what becomes of"):
        one(read, tmp_path, picture, mode="L")
    got = one(read, tmp_path, picture, mode="L", high_depth="high byte")
    np.testing.assert_array_equal(got[0], deep >> 8)


def test_exif_turns_images_only_if_the_spec_says_so(read: Read, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    Image.fromarray(COLORS[0]).save(tmp_path / "one.png", exif=exif)
    rows = {"file": ["one.png"] * 4}
    table = read(image(scale=1.0), rows)
    np.testing.assert_array_equal(pixels(table)[0], np.moveaxis(COLORS[0], -1, 0))
    assert any("4 images have an EXIF orientation that is ignored" in n for n in table.notes)
    turned = np.moveaxis(np.rot90(COLORS[0], -1), -1, 0)
    np.testing.assert_array_equal(pixels(read(image(scale=1.0, exif=True), rows))[0], turned)


@pytest.mark.parametrize(
    ("resize", "size"),
    [
        ({"shortest": 7}, (8, 7)),  # int(7 * 14 / 11), as torchvision rounds
        ({"shortest": 22, "filter": "bicubic"}, (28, 22)),
        ({"exact": [5, 9], "filter": "lanczos"}, (9, 5)),
    ],
)
def test_resizing_is_pillows(
    read: Read, tmp_path: Path, resize: dict[str, Any], size: tuple[int, int]
) -> None:
    picture = Image.fromarray(COLORS[0])
    method = Image.Resampling[resize.get("filter", "bilinear").upper()]
    expected = np.moveaxis(np.asarray(picture.resize(size, method)), -1, 0)
    np.testing.assert_array_equal(one(read, tmp_path, picture, resize=resize), expected)


def test_resizing_without_antialiasing_is_another_picture(read: Read, tmp_path: Path) -> None:
    picture = Image.fromarray(COLORS[0])
    resize = {"exact": [5, 6]}
    smooth = one(read, tmp_path, picture, resize=resize)
    rough = one(read, tmp_path, picture, resize=resize | {"antialias": False})
    tensor = torch.from_numpy(chw(COLORS[:1]))
    expected = torch.nn.functional.interpolate(tensor, (5, 6), mode="bilinear")[0].round()
    np.testing.assert_array_equal(rough, expected.numpy())
    assert abs(rough - smooth).max() > 20


@pytest.mark.parametrize(("offset", "left"), [("round", 2), ("floor", 1)])
def test_the_crop_is_in_the_middle(read: Read, tmp_path: Path, offset: str, left: int) -> None:
    picture = Image.fromarray(COLORS[0])  # 3 columns more than the crop: 1.5 on each side
    got = one(read, tmp_path, picture, crop=[7, 11], crop_offset=offset)
    np.testing.assert_array_equal(got, np.moveaxis(COLORS[0, 2:9, left : left + 11], -1, 0))


def as_zip(root: Path) -> Path:
    with zipfile.ZipFile(root / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in FILES["file"]:
            archive.write(root / name, f"in/{name}")
    return root / "images.zip"


def as_tar(root: Path) -> Path:
    with tarfile.open(root / "images.tar", "w") as archive:
        for name in FILES["file"]:
            archive.add(root / name, f"./in/{name}")
    return root / "images.tar"


@pytest.mark.parametrize("pack", [as_zip, as_tar])
def test_an_archive_gives_what_its_folder_gives(
    read: Read, folder: Path, pack: Callable[[Path], Path]
) -> None:
    expected = pixels(read(image(), FILES))
    names = {"file": [f"in/{name}" for name in FILES["file"]]}
    np.testing.assert_array_equal(pixels(read(image(), names, image_root=pack(folder))), expected)
    with pytest.raises(FairfixError, match=r"line 2: '0\.png' is not in the archive"):
        read(image(), FILES, image_root=pack(folder))


def test_a_damaged_archive_and_a_compressed_tar_are_refused(read: Read, folder: Path) -> None:
    (folder / "x.zip").write_bytes(as_zip(folder).read_bytes()[:-40])
    with tarfile.open(folder / "y.tar.gz", "w:gz") as archive:
        archive.add(folder / "0.png")
    for name in ("x.zip", "y.tar.gz", "0.png"):
        with pytest.raises(InputError, match=r"cannot be read as a folder, zip or uncompressed"):
            read(image(), FILES, image_root=folder / name)
    with pytest.raises(InputError, match="is not a folder, zip or tar file"):
        read(image(), FILES, image_root=folder / "absent")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png(path: Path) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 1, 0, 0, 0, 0))
    start = b"\x89PNG\r\n\x1a\n" + header
    path.write_bytes(start + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b""))


def cropped(path: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(COLORS[0]).save(content, "PNG")
    path.write_bytes(content.getvalue()[:200])


def postscript(path: Path) -> None:
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run showpage\n")


def animation(path: Path) -> None:
    frames = [Image.fromarray(colors).convert("P") for colors in COLORS]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])


def link_out(path: Path) -> None:
    secret = path.parent.parent / "secret.png"
    Image.fromarray(COLORS[0]).save(secret)
    path.symlink_to(secret)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: None, "'bad.png' does not exist"),
        (lambda path: path.mkdir(), "'bad.png' is a directory"),
        (lambda path: path.write_bytes(b""), "'bad.png': it is not an image of a known format"),
        (cropped, "'bad.png': it cannot be decoded ("),
        (huge_png, "'bad.png': it "),
        (postscript, "'bad.png': it is not an image of a known format"),
        (animation, "'bad.png': it has 4 frames"),
        (
            link_out,
            "'bad.png' leads out of the folder of the images, which --image-root names",
        ),
        (
            lambda path: Image.fromarray(COLORS[0, :5]).save(path),
            "'bad.png': it has 14 x 5 pixels and the first image 14 x 11; resize or crop them",
        ),
        (
            lambda path: Image.fromarray(COLORS[0, :, :, 0]).save(path),
            "'bad.png': it has 1 channels and the first image 3; choose a mode",
        ),
    ],
)
def test_a_bad_image_is_named_with_its_row_or_left_out(
    read: Read, folder: Path, write: Callable[[Path], None], reason: str
) -> None:
    write(folder / "bad.png")
    names = {"file": ["0.png", "1.png", "2.png", "bad.png", "3.png"]}
    with pytest.raises(FairfixError) as raised:
        read(image(), names)
    assert f"1 row of val.csv cannot be used (first: line 5: {reason}" in str(raised.value)
    table = read(image(), names, on_bad_row="skip")
    np.testing.assert_array_equal(pixels(table), pixels(read(image(), FILES)))
    assert table.labels is not None
    assert table.labels.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("name", ["../secret.png", "/secret.png", "in/../../secret.png", ""])
def test_a_path_that_leaves_the_root_is_a_bad_row(read: Read, folder: Path, name: str) -> None:
    Image.fromarray(COLORS[0]).save(folder.parent / "secret.png")
    path = f"{folder.parent}{name}" if name.startswith("/") else name
    with pytest.raises(FairfixError, match=r"1 row of val\.csv cannot be used \(first: line 4"):
        read(image(), {"file": ["0.png", "1.png", path, "3.png"]})


def test_a_table_without_any_usable_image_is_refused(read: Read, tmp_path: Path) -> None:
    (tmp_path / "0.png").write_text("no image")
    for names in (["0.png"] * 4, ["absent.png"] * 4):
        with pytest.raises(FairfixError, match=r"none of the images can be used \(first: line 2"):
            read(image(), {"file": names}, on_bad_row="skip")


def test_an_image_that_would_grow_without_limit_is_refused(read: Read, tmp_path: Path) -> None:
    picture = Image.new("L", (9000, 1))
    with pytest.raises(FairfixError, match="it is resized to 2304000 x 256 pixels, more than"):
        one(read, tmp_path, picture, resize={"shortest": 256})
    with pytest.raises(FairfixError, match="too few for the crop of 14 x 12; resize it"):
        one(read, tmp_path, Image.fromarray(COLORS[0]), crop=[12, 14])


def test_images_are_decoded_once(read: Read, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    with progress_callback(lambda task, done, total: seen.append(task)):
        expected = pixels(read(image(), FILES))
    assert set(seen) == {"reading images", "decoding images"}
    with monkeypatch.context() as patch:
        patch.setattr(image_cache, "decode", None)
        np.testing.assert_array_equal(pixels(read(image(), FILES)), expected)
        with pytest.raises(TypeError):
            read(image(crop=[3, 3]), FILES)
    Image.fromarray(COLORS[1]).save(folder / "0.png")
    np.testing.assert_array_equal(pixels(read(image(), FILES))[0], expected[1])


def test_a_damaged_cache_is_made_again(read: Read, folder: Path) -> None:
    expected = pixels(read(image(), FILES))
    (entry,) = (folder / "cache" / "images").iterdir()
    for name in ("pixels.npy", "digests.npy", "images.json"):
        (entry / name).write_bytes((entry / name).read_bytes()[:-7])
        np.testing.assert_array_equal(pixels(read(image(), FILES)), expected)


def test_an_interrupted_run_leaves_nothing(
    read: Read, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(image_cache, "decode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        read(image(), FILES)
    assert list((folder / "cache" / "images").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_one_sentence(read: Read, folder: Path) -> None:
    (folder / "cache").write_text("a file")
    with pytest.raises(OutputError, match=r"The cache in .* cannot be written: .*--cache"):
        read(image(), FILES)


def test_equal_rows_have_equal_digests_whatever_the_order(read: Read, folder: Path) -> None:
    names = {"file": ["0.png", "1.png", "0.png", "2.png"]}
    inputs = read(image(), names).inputs
    assert inputs is not None
    digests = inputs.digests()
    assert len(np.unique(digests, axis=0)) == 3
    np.testing.assert_array_equal(digests[0], digests[2])
    taken = inputs.take(torch.tensor([3, 0, 3]))
    np.testing.assert_array_equal(taken.digests(), digests[[3, 0, 3]])
    other = read(image(mean=[0.5]), names).inputs
    assert other is not None
    assert (other.digests() != digests).any(axis=1).all()
    assert torch.equal(taken.batch().kwargs["pixels"], inputs.batch().kwargs["pixels"][[3, 0, 3]])


def test_rows_with_one_image_and_label_are_copies(read: Read, folder: Path) -> None:
    names = ["0.png", "1.png", "0.png", "0.png", "2.png", "1.png"]  # labels 0, 1, 0, 1, 0, 1
    table = read(image(), {"file": names, "person": ["a", "b", "c", "d", "e", "f"]}, id="person")
    assert table.clusters is not None
    assert len(np.unique(table.clusters)) == 4
    assert table.clusters[0] == table.clusters[2] != table.clusters[3]
    assert table.repeats.startswith("4 of 6 rows are copies of another row")


def test_copies_of_the_part_refer_to_the_file(read: Read, folder: Path) -> None:
    inputs = read(image(), FILES).inputs
    assert inputs is not None
    inputs.batch()
    for again in (pickle.loads(pickle.dumps(inputs)), copy.deepcopy(inputs)):
        assert torch.equal(again.batch().kwargs["pixels"], inputs.batch().kwargs["pixels"])
    assert len(pickle.dumps(inputs)) < 4000


def test_a_missing_pillow_is_one_sentence(
    read: Read, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UsageError, match=r"Pillow; install it with pip install 'fairfix\[vision"):
        read(image(), FILES)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "RGB", "mean": [0.5, 0.5]}, "mean must have 1 or 3 numbers, not 2."),
        ({"std": [0.0]}, "std must be above 0."),
        ({"resize": {"filter": "box"}}, "must have one of the keys 'shortest' and 'exact'"),
        ({"resize": {"exact": [5, 0]}}, "must be at least 1, not 0"),
        ({"resize": {"exact": [5, 5], "filter": "box", "antialias": False}}, "can be false for"),
        ({"alpha": "ignore"}, "alpha must be 'refuse', 'drop', 'white' or 'black'"),
    ],
)
def test_faulty_settings_are_refused(read: Read, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        read(image(**settings), FILES)
    assert message in str(raised.value)


def test_the_mean_must_fit_the_channels_of_the_images(read: Read, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="have 1 channel, but there are 3 means"):
        one(read, tmp_path, Image.new("L", (3, 3)), mean=[0.5, 0.5, 0.5])
