"""Options for networks that take images, texts, arrays and codes."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from fairfix.data.spec.given_inputs import GivenInputs
from tests.helpers.paths import SAMPLES
from tests.helpers.runs import Run

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
N = 40
IMAGE = {"kind": "image", "column": "file"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A network on images of 3 x 4 x 4, a table, and its images in a folder of their own."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for row, pixels in enumerate(rng.integers(0, 256, (N, 4, 4, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "images" / f"{row}.png")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 1))
    torch.save(network, tmp_path / "model.pt")
    table = {"nr": range(N), "file": [f"{row}.png" for row in range(N)]}
    frame = pd.DataFrame(table | {"label": np.arange(N) % 2, "group": np.arange(N) // 2 % 2})
    frame.to_csv(tmp_path / "val.csv", index=False)
    return tmp_path


def write_spec(folder: Path, **settings: Any) -> None:
    """Write the data spec beside the model."""
    spec = {"version": 2, "call": "position", "inputs": {"image": IMAGE | settings}}
    (folder / "model.data.json").write_text(json.dumps(spec))


def files(folder: Path) -> tuple[str, ...]:
    return ("--image-root", str(folder / "images"), "--cache", str(folder / "cache"))


def test_images_and_their_cache_lie_in_the_named_folders(fairfix: Run, folder: Path) -> None:
    write_spec(folder)
    ended = fairfix("audit", folder / "model.pt", folder / "val.csv", *files(folder))
    assert ended.code == 0, ended.err
    assert any((folder / "cache").rglob("*.npy"))


def test_the_settings_file_names_them_relative_to_itself(fairfix: Run, folder: Path) -> None:
    write_spec(folder)
    (folder / "fairfix.toml").write_text('image-root = "images"\ncache = "cache"\n')
    ended = fairfix("audit", folder / "model.pt", folder / "val.csv")
    assert ended.code == 0, ended.err
    assert any((folder / "cache").rglob("*.npy"))


def test_a_bad_row_is_refused_or_left_out(fairfix: Run, folder: Path) -> None:
    write_spec(folder)
    (folder / "images" / "3.png").write_bytes(b"no image")
    call = ("predict", folder / "model.pt", folder / "val.csv", *files(folder))
    assert "leave them out with --on-bad-row skip" in fairfix(*call).sentence
    skip = (*call, "--on-bad-row", "skip")
    assert "Name the id column with --id" in fairfix(*skip).sentence
    ended = fairfix(*skip, "--id", "nr", "-o", folder / "out.csv")
    assert ended.code == 0, ended.err
    assert "1 row of val.csv cannot be used and is left out" in ended.err
    assert pd.read_csv(folder / "out.csv")["nr"].tolist() == [i for i in range(N) if i != 3]


def test_a_table_of_test_rows_is_read_likewise(fairfix: Run, folder: Path) -> None:
    write_spec(folder)
    (folder / "images" / "bad.png").write_bytes(b"no image")
    shutil.copytree(folder / "images", folder / "images" / "test")
    frame = pd.read_csv(folder / "val.csv").assign(
        file="test/" + pd.Series(map(str, range(N))) + ".png"
    )
    frame.loc[0, "file"] = "bad.png"
    frame.to_csv(folder / "test.csv", index=False)
    ended = fairfix(
        *("thresholds", folder / "model.pt", folder / "val.csv", "--test", folder / "test.csv"),
        *(*files(folder), "--on-bad-row", "skip", "-o", folder / "out.pt", "--allow-trivial"),
    )
    assert "test.csv: 1 row of test.csv cannot be used and is left out" in ended.err


def test_options_say_the_same_as_a_data_spec(fairfix: Run, folder: Path) -> None:
    call = ("predict", folder / "model.pt", folder / "val.csv", *files(folder), "--force")
    options = ("--image", "file", "--image-size", "4", "--image-mean", "0.5,0.4,0.3")
    options = (*options, "--image-scale", "0.01")
    ended = fairfix(*call, *options, "-o", folder / "options.csv")
    assert ended.code == 0, ended.err
    write_spec(folder, resize={"exact": [4, 4]}, mean=[0.5, 0.4, 0.3], scale=0.01)
    assert fairfix(*call, "-o", folder / "spec.csv").code == 0
    assert (folder / "options.csv").read_text() == (folder / "spec.csv").read_text()
    assert "--image is given beside a data spec" in fairfix(*call, *options).sentence


def test_settings_beside_the_model_are_taken_unless_options_replace_them(tmp_path: Path) -> None:
    config = {
        **{
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": 8,
            "resample": 3,
        },
        **{"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True},
        **{"image_mean": [0.5] * 3, "image_std": [0.2] * 3},
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    given = GivenInputs(image=["pixel_values=file"], image_size="6,4", image_std="0.3")
    spec = given.spec(tmp_path / "model.pt", tmp_path / "val.csv", None, ()).to_json()
    entry = spec["inputs"]["pixel_values"]
    assert spec["call"] == "name"
    assert entry["resize"]["exact"] == [6, 4]
    assert entry["resize"]["filter"] == "bicubic"
    assert (entry["mean"], entry["std"]) == ([0.5] * 3, [0.3])


def test_a_rule_keeps_what_options_said(fairfix: Run, folder: Path) -> None:
    ended = fairfix(
        *("thresholds", folder / "model.pt", folder / "val.csv", *files(folder), "--image", "file"),
        *("--allow-trivial", "-o", folder / "out.pt"),
    )
    assert (folder / "out.rule.json").exists(), ended.err
    rule = json.loads((folder / "out.rule.json").read_text())
    assert rule["contract"]["data_spec"]["inputs"]["image"]["column"] == "file"
    ended = fairfix("predict", folder / "out.pt", folder / "val.csv", *files(folder))
    assert ended.code == 0, ended.err


NETWORKS = """
import torch
from torch import Tensor, nn

class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.last = nn.Embedding(5, 3), nn.Linear(7, 1)
    def forward(self, x_cat, x_num):
        return self.last(torch.cat([self.embedding(x_cat).flatten(1), x_num], 1))

class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 2, 2), nn.Linear(2, 1)
    def forward(self, x):
        return self.last(self.first(x).flatten(1))
"""


@pytest.fixture
def networks(tmp_path: Path) -> Path:
    """Two architectures with their weights, a table of codes and numbers, and an array."""
    (tmp_path / "networks.py").write_text(NETWORKS)
    found: dict[str, type[nn.Module]] = {}
    exec(NETWORKS, found)
    torch.manual_seed(0)
    for name in ("Embedded", "Convolution"):
        torch.save(found[name]().state_dict(), tmp_path / f"{name}.pt")
    rng = np.random.default_rng(0)
    values = rng.normal(size=(N, 4)).astype(np.float32)
    cells = {f"p{i}": values[:, i].astype(str) for i in range(4)}
    cells |= {"job": rng.integers(0, 5, N), "city": rng.integers(0, 5, N), "age": values[:, 0]}
    frame = pd.DataFrame(cells | {"label": np.arange(N) % 2, "group": np.arange(N) // 2 % 2})
    frame.to_csv(tmp_path / "val.csv", index=False)
    np.savez(tmp_path / "val.npz", x=values.reshape(N, 1, 2, 2), flat=values)
    return tmp_path


def scores(fairfix: Run, networks: Path, name: str, *options: str) -> list[float]:
    arch = ("--arch", f"{networks / 'networks.py'}:{name}", "-o", networks / "out.csv", "--force")
    ended = fairfix("predict", networks / f"{name}.pt", networks / "val.csv", *arch, *options)
    assert ended.code == 0, ended.err
    found: list[float] = pd.read_csv(networks / "out.csv")["score"].tolist()
    return found


@pytest.mark.parametrize(
    "options",
    [
        ("--features", "p0,p1,p2,p3", "--input-shape", "1,2,2"),
        ("--ignore", "job,city,age", "--input-shape", "1,2,2"),
        ("--features", "x=p0,p1,p2,p3", "--input-shape", "x=1,2,2"),
        ("--array", "{folder}/{{table}}.npz:x"),
        ("--array", "x={folder}/val.npz:flat", "--input-shape", "1,2,2"),
    ],
)
def test_columns_and_arrays_give_the_same_scores(
    fairfix: Run, networks: Path, options: tuple[str, ...]
) -> None:
    values = torch.from_numpy(np.load(networks / "val.npz")["x"])
    found: dict[str, type[nn.Module]] = {}
    exec(NETWORKS, found)
    network = found["Convolution"]()
    network.load_state_dict(torch.load(networks / "Convolution.pt"))
    with torch.no_grad():
        expected = network(values).sigmoid()[:, 0].tolist()
    words = [word.format(folder=networks) for word in options]
    assert scores(fairfix, networks, "Convolution", *words) == pytest.approx(expected, abs=1e-6)


def test_codes_and_numbers_go_by_name(fairfix: Run, networks: Path) -> None:
    frame = pd.read_csv(networks / "val.csv")
    found: dict[str, type[nn.Module]] = {}
    exec(NETWORKS, found)
    network = found["Embedded"]()
    network.load_state_dict(torch.load(networks / "Embedded.pt"))
    codes = torch.tensor(frame[["job", "city"]].to_numpy())
    with torch.no_grad():
        expected = network(codes, torch.tensor(frame[["age"]].to_numpy(np.float32)))
    options = ("--codes", "x_cat=job,city", "--features", "x_num=age")
    found_scores = scores(fairfix, networks, "Embedded", *options)
    assert found_scores == pytest.approx(expected.sigmoid()[:, 0].tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--codes", "job", "--features", "age"), "write the argument of forward before each"),
        (("--codes", "x=job", "--features", "x=age"), "Two inputs have the same name"),
        (("--codes", "x_cat=p0,p1", "--features", "x_num=age"), "is not a whole number"),
        (("--image-size", "8"), "--image-size has an effect only with --image"),
        (("--max-length", "8"), "--max-length has an effect only with --text"),
        (("--features", "age", "--input-shape", "1,x"), "--input-shape: 'x' is not a whole number"),
        (("--features", "age", "--input-shape", "y=1"), "--input-shape y=1 does not name an input"),
        (("--array", "/absent.npz"), "lies neither beside the table nor beside the model"),
        (("--text", "job"), "No tokenizer lies beside Embedded.pt; name its folder"),
        (("--codes", "job", "--data-spec", "x.json"), "--codes is given beside a data spec"),
        (("--codes", "nobody", "--score", "age"), "in its place"),
    ],
)
def test_what_cannot_be_used_is_refused(
    fairfix: Run, networks: Path, options: tuple[str, ...], said: str
) -> None:
    arch = ("--arch", f"{networks / 'networks.py'}:Embedded")
    ended = fairfix("audit", networks / "Embedded.pt", networks / "val.csv", *arch, *options)
    assert ended.code == 2
    assert said in ended.sentence


def test_a_text_column_takes_the_tokenizer_of_the_model(fairfix: Run, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = tmp_path / "reviews"
    shutil.copytree(SAMPLES / "reviews", folder)
    call = (
        "predict",
        folder,
        folder / "test.csv",
        "--cache",
        tmp_path / "cache",
        "--force",
        "--trust-checkpoint",
    )
    fairfix(*call, "-o", tmp_path / "spec.csv")
    (folder / "model.data.json").unlink()
    options = ("--text", "text", "--max-length", "16")
    ended = fairfix(*call, *options, "-o", tmp_path / "options.csv")
    assert ended.code == 0, ended.err
    assert (tmp_path / "spec.csv").read_text() == (tmp_path / "options.csv").read_text()


def test_the_settings_file_has_them_too(fairfix: Run, folder: Path) -> None:
    settings = (
        'image = "file"\nimage-root = "images"\ncache = "cache"\nimage-mean = [0.5, 0.4, 0.3]\n'
    )
    (folder / "fairfix.toml").write_text(settings)
    ended = fairfix("audit", folder / "model.pt", folder / "val.csv")
    assert ended.code == 0, ended.err
    assert "less 0.5, 0.4, 0.3" in ended.err


def test_inspect_shows_inputs_that_options_describe(fairfix: Run, folder: Path) -> None:
    call = ("inspect", folder / "model.pt")
    assert "--image has an effect only with a table" in fairfix(*call, "--image", "file").sentence
    ended = fairfix(*call, folder / "val.csv", "--image", "file", *files(folder), "--json")
    assert ended.code == 0, ended.err
    (image,) = json.loads(ended.out)["on_rows"]["inputs"]
    assert image["shape"][1:] == [3, 4, 4]


def test_rows_that_are_weighted_most_are_shown_with_their_images(
    fairfix: Run, folder: Path
) -> None:
    write_spec(folder)
    frame = pd.read_csv(folder / "val.csv")
    frame.assign(file=frame["file"][::-1].to_numpy()).to_csv(folder / "train.csv", index=False)
    ended = fairfix(
        *("fairif", folder / "model.pt", folder / "val.csv", "--train", folder / "train.csv"),
        *(*files(folder), "--show-rows", "--epochs", "1"),
        *("-o", folder / "out.pt", "--allow-trivial", "--no-subgroups"),
    )
    assert ended.code == 0, ended.err
    report = json.loads((folder / "out.report.json").read_text())
    listed = report["training"]["reweighting"]["listed_rows"]
    assert len(listed) == 20
    for row in listed:
        content = base64.b64decode(row["picture"].removeprefix("data:image/png;base64,"))
        shown = np.asarray(Image.open(io.BytesIO(content)))
        np.testing.assert_array_equal(
            shown, np.asarray(Image.open(folder / "images" / f"{N - 1 - row['row']}.png"))
        )
    page = (folder / "out.report.html").read_text()
    assert page.count('<img src="data:image/png;base64,') == 20
    assert "img-src data:" in page
    assert "data:image" not in (folder / "out.report.md").read_text()


class ByName(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 2)
        self.body = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
        self.head = nn.Linear(6, 1)

    def forward(self, code: Tensor, numbers: Tensor) -> Tensor:
        joined = torch.cat([self.embedding(code[:, 0]), numbers], 1)
        output: Tensor = self.head(self.body(joined))
        return output


class OneMapping(ByName):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        return super().forward(batch["code"], batch["numbers"])


def test_a_network_that_takes_one_mapping_gives_the_same(fairfix: Run, tmp_path: Path) -> None:
    torch.manual_seed(0)
    one, other = ByName().eval(), OneMapping().eval()
    other.load_state_dict(one.state_dict())
    draws = np.random.default_rng(0)
    frame = pd.DataFrame({"job": draws.integers(0, 4, N), "u": draws.normal(size=N)})
    frame["v"], frame["group"] = draws.normal(size=N), draws.integers(0, 2, N)
    frame["label"] = (frame["u"] + draws.normal(size=N) > 0).astype(int)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    inputs = {
        "code": {"kind": "codes", "columns": [{"column": "job"}]},
        "numbers": {"kind": "numbers", "entries": [{"column": "u"}, {"column": "v"}]},
    }
    written = []
    for call, network in (("name", one), ("mapping", other)):
        model, new = tmp_path / f"{call}.pt", tmp_path / f"{call}.new.pt"
        torch.save(network, model)
        spec = {"version": 2, "call": call, "inputs": inputs}
        (tmp_path / f"{call}.data.json").write_text(json.dumps(spec))
        options = ("--privileged", "1", "--trust-checkpoint", "--allow-trivial", "--no-subgroups")
        more = ("--steps", "2", "--layers", "head", "-o", new, "--export", tmp_path / f"{call}.pt2")
        ended = fairfix("finetune", model, tmp_path / "rows.csv", *options, *more)
        assert ended.code == 0, ended.err
        out = tmp_path / f"{call}.csv"
        ended = fairfix("predict", new, tmp_path / "rows.csv", "--trust-checkpoint", "-o", out)
        assert ended.code == 0, ended.err
        written.append(out.read_text())
    assert written[0] == written[1]
    spec["call"] = "name"
    (tmp_path / "mapping.data.json").write_text(json.dumps(spec))
    call = ("audit", tmp_path / "mapping.pt", tmp_path / "rows.csv", "--trust-checkpoint")
    shown = "--privileged", "1", "--no-subgroups", "--json"
    assert 'one mapping, write "call": "mapping" in the data' in fairfix(*call).sentence
    (tmp_path / "mapping.data.json").unlink()
    (tmp_path / "name.data.json").unlink()
    options = ("--codes", "code=job", "--features", "numbers=u,v", *shown)
    found = [
        json.loads(fairfix(*("audit", tmp_path / f"{each}.pt", *call[2:], *options)).out)["groups"]
        for each in ("name", "mapping")
    ]
    assert found[0] == found[1]
