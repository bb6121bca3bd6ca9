"""CI-MNIST: handwritten digits whose background color is a protected attribute.

The label is whether the digit is even. The three biases are those of Wang et al. 2023 ("FairIF"):
one color is rare ("group-size"), each color goes with a label ("group-distribution"), or one label
is rare ("class-size"). A larger ``share`` makes a bias stronger.

The digits are those of MNIST (LeCun, Cortes, Burges).
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fairfix._utils.atomic_write import check_destination, staged
from fairfix.bench.download import DownloadError, cache_folder
from fairfix.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

Bias = Literal["group-size", "group-distribution", "class-size"]
LABELS = "odd", "even"
GROUPS = "blue", "red"
SIDE = 28
SHAPE = 3, SIDE, SIDE

PUBLISHED_COUNTS: Mapping[Bias, tuple[tuple[int, int], tuple[int, int]]] = {
    "group-size": ((30245, 5337), (29257, 5161)),
    "group-distribution": ((30245, 5337), (5163, 29255)),
    "class-size": ((17791, 17791), (4303, 4301)),
}
"""Blue and red odd digits, then blue and red even digits, out of all 70,000."""

_FILES = "mnist_train_00000_29999.npz", "mnist_train_30000_59999.npz", "mnist_test.npz"
_SHA256 = "c2069063c1105f2bf96266aef1ff68c6e13bdda7a54e37bf19c16f1db24efc83"


@dataclass(frozen=True)
class Digits:
    """Gray images of digits.

    Attributes:
        pixels: (N, 28, 28) uint8, 0 for the background.
        values: (N,) uint8, the digit, 0 to 9.
    """

    pixels: NDArray[np.uint8]
    values: NDArray[np.uint8]


@dataclass(frozen=True)
class ColoredDigits:
    """White digits on a blue or red background.

    Attributes:
        ids: (N,) str, the position of the digit in MNIST.
        images: (N, 3, 28, 28) uint8, red, green and blue.
        labels: (N,) int64, 1 = even.
        groups: (N,) int64, 0 = blue, 1 = red.
    """

    ids: NDArray[np.str_]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of images, N."""
        return len(self.labels)

    def take(self, index: NDArray[np.int64]) -> ColoredDigits:
        """Return some of the images, in the order of their numbers."""
        return ColoredDigits(
            self.ids[index], self.images[index], self.labels[index], self.groups[index]
        )

    def table(self) -> pd.DataFrame:
        """Return the columns id, label and group."""
        import pandas as pd

        label, group = np.array(LABELS)[self.labels], np.array(GROUPS)[self.groups]
        return pd.DataFrame({"id": self.ids, "label": label, "group": group})


def load_digits(*, download: bool = True) -> Digits:
    """Return the 60,000 training digits of MNIST, then its 10,000 test digits.

    They are read from the folder ``data/mnist`` in the one that ``FAIRFIX_DATA`` names, or from
    OpenML by scikit-learn, which keeps them in the cache.

    Args:
        download: whether OpenML may be asked.

    Raises:
        DownloadError: the digits are not on this machine and cannot be downloaded, or differ.
    """
    configured = os.environ.get("FAIRFIX_DATA")
    folder = Path(configured or "") / "data" / "mnist"
    if configured and all((folder / name).is_file() for name in _FILES):
        parts = [np.load(folder / name) for name in _FILES]
        pixels = np.concatenate([part["X"] for part in parts])
        values = np.concatenate([part["y"] for part in parts])
        source = str(folder)
    elif download:
        pixels, values = _download()
        source = "OpenML's mnist_784"
    else:
        raise DownloadError(
            f"MNIST is not on this machine; put {', '.join(_FILES)} into data/mnist of the folder "
            "that FAIRFIX_DATA names, or allow a download."
        )
    sha256 = hashlib.sha256(pixels.tobytes() + values.tobytes()).hexdigest()
    if sha256 != _SHA256:
        raise DownloadError(
            f"{source} is not the published MNIST: its pixels and labels have the sha256 {sha256}, "
            f"expected {_SHA256}. Replace it."
        )
    return Digits(pixels, values)


def _download() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    from sklearn.datasets import fetch_openml

    try:
        pixels, values = fetch_openml(
            "mnist_784",
            version=1,
            return_X_y=True,
            as_frame=False,
            parser="liac-arff",
            data_home=cache_folder(),
        )
    except (OSError, ValueError) as error:
        raise DownloadError(
            f"MNIST cannot be downloaded from OpenML: {error}. Put {', '.join(_FILES)} into "
            "data/mnist of a folder and set FAIRFIX_DATA to it."
        ) from None
    return pixels.reshape(-1, SIDE, SIDE).astype(np.uint8), values.astype(np.uint8)


def cell_counts(
    digits: Digits, bias: Bias, share: float | None = None
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the numbers of blue and red odd digits, then of blue and red even digits.

    Args:
        digits: to be colored.
        bias: the kind of bias.
        share: in [0.5, 1): of the frequent color ("group-size"), of the frequent color of each
            label ("group-distribution"), or of odd digits ("class-size"). None takes the published
            counts, which need all digits of MNIST; their share is about 0.85, 0.85 and 0.81.

    Raises:
        UsageError: if the bias is unknown, the share is out of range, or there are too few digits.
    """
    if bias not in get_args(Bias):
        raise UsageError(f"The biases are {', '.join(get_args(Bias))}, not {bias!r}.")
    even = int((digits.values % 2 == 0).sum())
    odd = len(digits.values) - even
    if share is None:
        counts = PUBLISHED_COUNTS[bias]
        if sum(counts[0]) > odd or sum(counts[1]) > even:
            raise UsageError(
                f"The published counts need all digits of MNIST, not {odd + even:,}; pass a share."
            )
        return counts
    if not 0.5 <= share < 1:
        raise UsageError(f"The share must be at least 0.5 and below 1, not {share}.")
    blue_odd, red_even = round(share * odd), round(share * even)
    match bias:
        case "group-size":
            return (blue_odd, odd - blue_odd), (red_even, even - red_even)
        case "group-distribution":
            return (blue_odd, odd - blue_odd), (even - red_even, red_even)
        case "class-size":
            kept = min(even, round(odd * (1 - share) / share))
            return (odd - odd // 2, odd // 2), (kept - kept // 2, kept // 2)


def color_digits(
    digits: Digits, bias: Bias, *, share: float | None = None, seed: int = 0
) -> ColoredDigits:
    """Draw which digits get which background color; the digits keep their order.

    Args:
        digits: gray images.
        bias: the kind of bias.
        share: its strength, see ``cell_counts``.
        seed: of the draw; equal arguments give equal images.

    Raises:
        UsageError: see ``cell_counts``.
    """
    counts = cell_counts(digits, bias, share)
    generator = np.random.default_rng(seed)
    group = np.full(len(digits.values), -1, np.int64)
    for label, (blue, red) in zip((0, 1), counts, strict=True):
        rows = np.flatnonzero((digits.values % 2 == 0) == label)
        drawn = generator.permutation(rows)[: blue + red]
        group[drawn] = np.repeat([0, 1], [blue, red])
    rows = np.flatnonzero(group >= 0)
    groups, gray = group[rows], digits.pixels[rows]
    images = np.repeat(gray[:, None], 3, axis=1)
    images[groups == 0, 2] = 255
    images[groups == 1, 0] = 255
    ids = np.array([f"{row:05}" for row in rows])
    return ColoredDigits(ids, images, (digits.values[rows] % 2 == 0).astype(np.int64), groups)


def write_arrays(digits: ColoredDigits, table: Path, *, force: bool = False) -> Path:
    """Write a CSV table and, beside it, an ``.npz`` file with ``images`` and ``images_ids``.

    Args:
        digits: N images.
        table: path of the CSV table: id, label and group.
        force: replace existing files.

    Returns:
        The path of the ``.npz`` file.

    Raises:
        OutputError: if a file exists (without ``force``) or cannot be written.
    """
    arrays = table.with_suffix(".npz")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=digits.images, images_ids=digits.ids)
    _write({table: _csv(digits.table()), arrays: buffer.getvalue()}, force=force)
    return arrays


def write_pngs(digits: ColoredDigits, table: Path, *, force: bool = False) -> Path:
    """Write a CSV table and, beside it, a folder of PNG files that its column "file" names.

    Args:
        digits: N images.
        table: path of the CSV table: id, label, group and file.
        force: replace existing files.

    Returns:
        The path of the folder, named as the table.

    Raises:
        OutputError: if a file exists (without ``force``) or cannot be written.
    """
    from PIL import Image

    folder = table.with_suffix("")
    check_destination(table, force=force)
    check_destination(folder, force=force, folder=True)
    names = [f"{folder.name}/{each}.png" for each in digits.ids]
    with staged([table, folder]) as staging:
        staging[folder].mkdir()
        for name, image in zip(names, digits.images, strict=True):
            Image.fromarray(image.transpose(1, 2, 0)).save(staging[folder] / Path(name).name)
        staging[table].write_bytes(_csv(digits.table().assign(file=names)))
    return folder


def write_columns(digits: ColoredDigits, table: Path, *, force: bool = False) -> None:
    """Write a table with a column for each of the 3 x 28 x 28 numbers of an image.

    Args:
        digits: N images.
        table: path of a CSV or Parquet table: id, label, group and p0 to p2351.
        force: replace an existing file.

    Raises:
        OutputError: if the file exists (without ``force``) or cannot be written.
        UsageError: if the table is neither CSV nor Parquet.
    """
    import pandas as pd

    flat = digits.images.reshape(len(digits), -1)
    pixels = pd.DataFrame(flat, columns=[f"p{place}" for place in range(flat.shape[1])])
    frame = pd.concat([digits.table(), pixels], axis=1)
    if table.suffix not in (".csv", ".parquet"):
        raise UsageError(f"{table.name} must end in .csv or .parquet.")
    content = _csv(frame) if table.suffix == ".csv" else frame.to_parquet(index=False)
    _write({table: content}, force=force)


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _write(files: Mapping[Path, bytes], *, force: bool) -> None:
    for path in files:
        check_destination(path, force=force)
    with staged(files) as staging:
        for path, content in files.items():
            staging[path].write_bytes(content)
