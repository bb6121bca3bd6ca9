"""Settings files: where they are found, what they may say, and what they may not do."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairfix.cli.settings import Settings, load_settings
from fairfix.errors import UsageError
from tests.helpers.runs import Place, Run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose table lies two folders down, and a working folder elsewhere."""
    (tmp_path / "project/data/raw").mkdir(parents=True)
    (tmp_path / "cwd").mkdir()
    return tmp_path


def load(root: Path) -> Settings:
    return load_settings(root / "project/data/raw/val.csv", root / "cwd")


def write(root: Path, where: str, text: str) -> Path:
    path = root / where
    path.write_text(text, encoding="utf-8")
    return path


def read(root: Path, text: str) -> Settings:
    write(root, "cwd/fairfix.toml", text)
    return load_settings(None, root / "cwd")


def refused(root: Path, text: str) -> str:
    with pytest.raises(UsageError) as caught:
        read(root, text)
    return str(caught.value).removeprefix(str(root / "cwd/fairfix.toml"))


def test_without_a_file_there_are_no_settings(project: Path) -> None:
    assert load(project) == Settings({}, None, {})


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["project/data/raw/fairfix.toml", "project/fairfix.toml"], 0),
        (["project/data/fairfix.toml", "cwd/fairfix.toml"], 0),
        (["project/pyproject.toml", "cwd/fairfix.toml"], 0),
        (["project/fairfix.toml", "project/pyproject.toml"], 0),
        (["project/data/pyproject.toml", "project/fairfix.toml"], 0),
        (["cwd/fairfix.toml"], 0),
        (["cwd/pyproject.toml"], 0),
    ],
)
def test_the_nearest_file_is_used(project: Path, files: list[str], found: int) -> None:
    for seed, name in enumerate(files):
        head = "[tool.fairfix]\n" if name.endswith("pyproject.toml") else ""
        write(project, name, f"{head}seed = {seed}")
    settings = load(project)
    assert settings.values == {"seed": found}
    assert settings.source == project / files[found]


def test_above_the_working_folder_nothing_is_read(project: Path) -> None:
    (project / "cwd/inner").mkdir()
    write(project, "cwd/fairfix.toml", "seed = 1")
    assert load_settings(None, project / "cwd/inner").source is None


def test_a_pyproject_without_our_table_is_skipped(project: Path) -> None:
    write(project, "project/data/raw/pyproject.toml", '[tool.other]\nseed = "x"')
    write(project, "cwd/fairfix.toml", "seed = 1")
    assert load(project).source == project / "cwd/fairfix.toml"


def test_every_setting_is_read_as_its_option(tmp_path: Path) -> None:
    (tmp_path / "cwd").mkdir()
    settings = read(
        tmp_path,
        """
        label = "income"
        favorable = 1.0
        group = "sex"
        privileged = true
        output-label = " >50K"
        missing-group = "keep"
        id = "row"
        ignore = "fnlwgt, education"
        weight = "w"
        features = ["age", "hours,per,week"]
        score = "s"
        data-spec = "specs/adult.json"
        arch = "mlp:relu"
        output-kind = "logit"
        device = "cpu"
        batch-size = 512
        seed = 3
        metric = "eod"
        budget = 0.1
        margin = "auto"
        performance = "f1"
        objective = "tradeoff"
        lambda = 1
        risk = 0.1
        k = 1.5
        test = "/data/test.csv"
        holdout = 0.25
        confidence = 0.9
        threshold = 0.4
        strict = true
        [arch-args]
        width = 32
        """,
    )
    assert settings.values == {
        "label": "income",
        "favorable": "1",
        "group": ("sex",),
        "privileged": "True",
        "output_label": ">50K",
        "missing_group": "keep",
        "id": "row",
        "ignore": ("fnlwgt", "education"),
        "weight": "w",
        "features": ("age", "hours,per,week"),
        "score": "s",
        "data_spec": tmp_path / "cwd/specs/adult.json",
        "arch": "mlp:relu",
        "arch_args": {"width": 32},
        "output_kind": "logit",
        "device": "cpu",
        "batch_size": 512,
        "seed": 3,
        "metric": "eod",
        "budget": 0.1,
        "margin": "auto",
        "performance": "f1",
        "objective": "tradeoff",
        "lambda": 1,
        "risk": 0.1,
        "k": 1.5,
        "test": Path("/data/test.csv"),
        "holdout": 0.25,
        "confidence": 0.9,
        "threshold": 0.4,
        "strict": True,
    }


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ('group = ["sex", "race"]', "group", ("sex", "race")),
        ('ignore = "a, b,"', "ignore", ("a", "b")),
        ("ignore = 'a, \"b, c\"'", "ignore", ("a", "b, c")),
        ('unfavorable = "a, b"', "unfavorable", ("a", "b")),
        ("unfavorable = [1.0, ' a,b']", "unfavorable", ("1", "a,b")),
        ("unfavorable = false", "unfavorable", ("False",)),
        ("batch_size = 64", "batch_size", 64),
        ("margin = 0.01", "margin", 0.01),
        ('budget = "spd=0.05"', "budget", ("spd=0.05",)),
        ('budget = ["spd=0.05", "eod=0.1"]', "budget", ("spd=0.05", "eod=0.1")),
    ],
)
def test_other_ways_to_write_a_setting(project: Path, text: str, name: str, value: object) -> None:
    assert read(project, text).values == {name: value}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lable = 'y'", ": the top level has an unknown key 'lable'; did you mean 'label'?"),
        (
            "batch_sise = 1",
            ": the top level has an unknown key 'batch-sise'; did you mean 'batch-size'?",
        ),
        ("seed = true", ": seed must be a whole number, not true."),
        ("seed = 1.5", ": seed must be a whole number, not 1.5."),
        ("label = 3", ": label must be a string or a list, not 3."),
        ("id = 3", ": id must be a string, not 3."),
        ("strict = 1", ": strict must be true or false, not 1."),
        ("group = [1]", ": group[0] must be a string, not 1."),
        ("group = 1", ": group must be a string or a list, not 1."),
        ("budget = nan", ": budget must be a finite number, not NaN."),
        ("k = inf", ": k must be a finite number in the range of float64."),
        (
            "label = 2020-01-01",
            ": label must be text, a number, true or false, not date 2020-01-01.",
        ),
        ("margin = 'wide'", ": margin must be 'auto' or a number, not 'wide'."),
        ("k = nan", ": k must be a finite number, not NaN."),
        ("k = '0.0_5'", ": k must be a number, not '0.0_5'."),
        ("arch-args = 'x'", ": arch-args must be a table such as { width = 32 }, not 'x'."),
        (
            "missing-group = 'drop'",
            ": missing-group must be 'error', 'keep' or 'performance-only', not 'drop'.",
        ),
        ("[prune]\nseed = 'x'", ", [prune]: seed must be a whole number, not 'x'."),
        (
            "batch-size = 1\nbatch_size = 2",
            ": batch-size occurs twice, with dashes and with underscores; remove one.",
        ),
        ("trust-checkpoint = true", ": trust-checkpoint is allowed only on the command line."),
        ('rule = "a.rule.json"', ": rule is allowed only on the command line."),
        (
            "[prune]\ntrust_checkpoint = true",
            ", [prune]: trust_checkpoint is allowed only on the command line.",
        ),
        ("seed = 1\nlabel =\n", ", line 2: not valid TOML: Invalid value."),
        ("seed = 1\nseed = 2\n", ", line 2: not valid TOML: Cannot overwrite a value."),
        (
            "seed = 1\n[prune",
            ", at its end: not valid TOML: Expected ']' at the end of a table declaration.",
        ),
    ],
)
def test_invalid_settings_are_refused(project: Path, text: str, message: str) -> None:
    assert refused(project, text) == message


def test_an_unknown_setting_with_nothing_near_lists_the_known_ones(project: Path) -> None:
    message = refused(project, "zzz = 1")
    assert (
        "known keys: 'label', 'favorable', 'unfavorable', 'group', 'privileged', 'reference'"
        in message
    )


def test_a_file_that_is_not_utf8_is_refused(project: Path) -> None:
    (project / "cwd/fairfix.toml").write_bytes("label = 'Größe'".encode("latin-1"))
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        load_settings(None, project / "cwd")


def test_the_table_in_pyproject_is_named(project: Path) -> None:
    write(project, "cwd/pyproject.toml", "[tool.fairfix.prune]\nseed = 'x'")
    with pytest.raises(UsageError, match=r"pyproject.toml, \[tool.fairfix.prune\]: seed must be"):
        load_settings(None, project / "cwd")


def test_our_entry_in_pyproject_must_be_a_table(project: Path) -> None:
    write(project, "cwd/pyproject.toml", "[tool]\nfairfix = 1")
    with pytest.raises(UsageError, match=r"write \[tool.fairfix\]"):
        load_settings(None, project / "cwd")


def test_a_command_has_its_own_settings(project: Path) -> None:
    settings = read(project, "seed = 1\nmetric = 'spd'\n[prune]\nseed = 2\nmax-units = 8")
    prune = settings.for_command("prune")
    assert prune.values == {"seed": 2, "metric": "spd", "max_units": 8}
    assert prune.source == settings.source
    assert settings.for_command("roc").values == {"seed": 1, "metric": "spd"}


def test_tables_must_be_named_after_commands(project: Path) -> None:
    settings = read(project, "[prun]\nseed = 2")
    with pytest.raises(UsageError, match="unknown command 'prun'; did you mean 'prune'"):
        settings.check_commands(["audit", "prune"])
    settings.check_commands(["prun"])


@pytest.mark.parametrize(
    ("arch", "harmless"),
    [("mlp:relu", True), ("mlp:bn-gelu", True), ("net.py:Net", False), ("mlpkit:make", False)],
)
def test_an_architecture_that_is_code_needs_trust(project: Path, arch: str, harmless: bool) -> None:
    reason = read(project, f"arch = {arch!r}").needs_trust()
    assert (reason is None) == harmless
    if reason is not None:
        assert arch in reason
        assert "fairfix.toml" in reason


def test_a_command_can_be_what_needs_trust(project: Path) -> None:
    settings = read(project, "[prune]\narch = 'net:Net'")
    assert settings.needs_trust() is None
    assert settings.for_command("prune").needs_trust() is not None


def test_a_code_file_is_relative_to_the_settings(project: Path) -> None:
    settings = read(project, "arch = 'models/net.py:Net'")
    assert settings.values["arch"] == f"{project / 'cwd/models/net.py'}:Net"


@pytest.mark.parametrize("marker", [".git", "pyproject.toml"])
def test_the_search_ends_at_the_project_root(project: Path, marker: str) -> None:
    write(project, "project/fairfix.toml", "seed = 1")
    assert load(project).source is not None
    (project / "project/data" / marker).touch()
    assert load(project).source is None
    write(project, "project/data/fairfix.toml", "seed = 2")
    assert load(project).values == {"seed": 2}


def test_the_search_ends_at_the_home_directory(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, "project/fairfix.toml", "seed = 1")
    monkeypatch.setenv("HOME", str(project / "project/data"))
    assert load(project).source is None


def test_the_search_ends_before_a_directory_for_every_user(project: Path) -> None:
    write(project, "project/fairfix.toml", "seed = 1")
    (project / "project").chmod(0o1777)
    assert load(project).source is None


@pytest.mark.parametrize("value", ["[" * 5000 + "]" * 5000, "9" * 5000])
def test_settings_that_are_too_deep_or_too_long(project: Path, value: str) -> None:
    assert "is nested too deeply or has a number with too many digits" in refused(
        project, f"seed = {value}"
    )


def test_the_file_beside_the_model_is_read_last(
    fairfix: Run, place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("tables") / "rows.csv"
    elsewhere.write_bytes(place.test.read_bytes())
    place.model.with_name("fairfix.toml").write_text('[gate]\nbudget = ["spd=0.9"]\n')
    command = ("gate", place.model, elsewhere, "--trust-checkpoint")
    assert fairfix(*command).code == 0
    elsewhere.with_name("fairfix.toml").write_text('[gate]\nbudget = ["spd=0.001"]\n')
    assert fairfix(*command).code == 1
