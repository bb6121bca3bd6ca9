"""The gate as a CI job sees it: exit codes, files, and no verdict where none was made."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import fairfix.cli.app as cli
import fairfix.cli.gate as gate_command
from fairfix.thresholds.rule import DecisionRule
from tests.helpers.rules import as_saved, change_report
from tests.helpers.runs import Draw, Place, Run

SCORES = ("--score", "p", "--group", "sex", "--privileged", "m")
SPD, EOD = ("--budget", "spd=0.05"), ("--budget", "eod=0.1")


def people(**shares: tuple[int, float]) -> pd.DataFrame:
    """Rows of each group: how many, and which share of them is decided positive, rightly so."""
    frames = []
    for name, (rows, share) in shares.items():
        positive = round(rows * share)
        label = [1] * positive + [0] * (rows - positive)
        scores = [0.9] * positive + [0.1] * (rows - positive)
        frames.append(pd.DataFrame({"label": label, "sex": name, "p": scores}))
    return pd.concat(frames, ignore_index=True)


ALIKE = people(f=(2000, 0.3), m=(2000, 0.3))
APART = people(f=(2000, 0.2), m=(2000, 0.4))
FEW = people(f=(100, 0.3), m=(100, 0.3))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


def write(path: Path, rows: pd.DataFrame) -> Path:
    rows.to_csv(path, index=False)
    return path


class Verdicts:
    """What a JUnit file says: the outcome of every test case by its name, and their types."""

    def __init__(self, path: Path) -> None:
        self.suite = ElementTree.parse(path).getroot().find("testsuite")
        assert self.suite is not None
        cases = self.suite.findall("testcase")
        assert int(self.suite.attrib["tests"]) == len(cases) > 0
        self.outcome, self.type = {}, {}
        for case in cases:
            found = next((child for child in case if child.tag != "system-out"), None)
            self.outcome[case.attrib["name"]] = "passed" if found is None else found.tag
            self.type[case.attrib["name"]] = None if found is None else found.get("type")


# Each kind of ending, with its exit code and its JUnit file.

NO_POSITIVES = pd.concat([people(f=(500, 0.0), m=(500, 0.4)), people(m=(500, 0.2))])
ONE_ROW = people(f=(1, 1.0), m=(2000, 0.3))


@pytest.mark.parametrize(
    ("rows", "options", "code", "outcome", "kind"),
    [
        (ALIKE, SPD, 0, "passed", None),
        (APART, SPD, 1, "failure", "violated"),
        (FEW, SPD, 3, "error", "inconclusive"),
        (NO_POSITIVES, EOD, 3, "error", "too few rows"),
        (ONE_ROW, SPD, 3, "error", "too few rows"),
        (APART, ("--budget", "spd=0.05:warn"), 0, "skipped", None),
        (FEW, (*SPD, "--on-inconclusive", "warn"), 0, "skipped", None),
        (NO_POSITIVES, (*EOD, "--on-inconclusive", "warn"), 3, "error", "too few rows"),
        (APART, (*SPD, "--on-inconclusive", "warn"), 1, "failure", "violated"),
        (ALIKE, (*SPD, "--strict"), 0, "passed", None),
    ],
)
def test_every_exit_code(
    fairfix: Run,
    table: Path,
    rows: pd.DataFrame,
    options: tuple[str, ...],
    code: int,
    outcome: str,
    kind: str | None,
) -> None:
    junit = table.with_name("gate.xml")
    ended = fairfix("gate", "-", write(table, rows), *SCORES, *options, "--junit", junit)
    assert ended.code == code, ended.err
    found = Verdicts(junit)
    assert (list(found.outcome.values()), list(found.type.values())) == ([outcome], [kind])


def test_a_reversed_privileged_value_turns_the_sign_and_no_verdict(
    fairfix: Run, table: Path
) -> None:
    write(table, APART)
    values, codes = [], []
    for privileged in ("m", "f"):
        ended = fairfix("gate", "-", table, *SCORES[:-1], privileged, *SPD, "--json")
        values.append(json.loads(ended.out)["checks"][0]["value"])
        codes.append(ended.code)
    assert codes == [1, 1]
    assert values == pytest.approx([-0.2, 0.2])
    ended = fairfix("gate", "-", table, *SCORES[:-1], "w", *SPD)
    assert ended.code == 2
    assert "'w'" in ended.sentence


@pytest.mark.parametrize(
    ("fault", "code", "kind"),
    [("empty file", 2, "wrong input"), ("a bug", 4, "internal error")],
)
def test_a_crash_reads_neither_as_bias_nor_as_a_pass(
    fairfix: Run, place: Place, monkeypatch: pytest.MonkeyPatch, fault: str, code: int, kind: str
) -> None:
    junit, sarif = place.folder / "gate.xml", place.folder / "gate.sarif"
    files = ("--junit", junit, "--sarif", sarif)
    easy = ("--budget", "spd=0.9")
    assert fairfix("gate", place.model, place.test, *easy, *files).code == 0
    if fault == "a bug":

        def gate(*_: object, **__: object) -> None:
            raise ZeroDivisionError("division by zero")

        monkeypatch.setattr(gate_command, "gate", gate)
    else:
        place.model.write_bytes(b"")
    ended = fairfix("gate", place.model, place.test, *easy, *files)
    assert (ended.code, ended.out) == (code, "")
    found = Verdicts(junit)
    assert (list(found.outcome.values()), list(found.type.values())) == (["error"], [kind])
    (run,) = json.loads(sarif.read_text())["runs"]
    assert "results" not in run
    assert run["invocations"][0]["executionSuccessful"] is False


def test_an_exception_outside_of_any_command_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app() -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 4
    assert capsys.readouterr().err.startswith("fairfix: internal error, RuntimeError: broken")


def test_stale_gate_files_are_removed_first(
    fairfix: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    junit = place.folder / "gate.xml"
    words = ("gate", place.model, place.test, "--budget", "spd=0.9", "--junit", junit)
    assert fairfix(*words).code == 0

    def gate(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gate_command, "gate", gate)
    assert fairfix(*words).code == 130
    assert not junit.exists()


@pytest.mark.parametrize("option", ["--junit", "--sarif"])
def test_no_file_is_replaced_but_a_gates(fairfix: Run, table: Path, option: str) -> None:
    write(table, ALIKE)
    other = table.with_name("notes.xml")
    other.write_text('<testsuite name="mine"/>')
    before = table.read_bytes()
    for path in (other, table):
        ended = fairfix("gate", "-", table, *SCORES, *SPD, option, path)
        assert ended.code == 2
        assert option in ended.sentence
    assert other.read_text() == '<testsuite name="mine"/>'
    assert table.read_bytes() == before
    both = ("--junit", "gate.out", "--sarif", "gate.out")
    assert "the same file" in fairfix("gate", "-", table, *SCORES, *SPD, *both).sentence


# Several demands and columns.


def two_columns() -> pd.DataFrame:
    """Fair by sex; by town it is not."""
    a, b = people(f=(1000, 0.2), m=(1000, 0.2)), people(f=(1000, 0.4), m=(1000, 0.4))
    return pd.concat([a.assign(town="a"), b.assign(town="b")])


def test_a_demand_is_by_the_first_group_column_or_by_the_one_it_names(
    fairfix: Run, table: Path
) -> None:
    write(table, two_columns())
    ignored = (*SCORES, "--ignore", "town")
    assert fairfix("gate", "-", table, *ignored, *SPD).code == 0
    both = (*SCORES, "--group", "town", *SPD)
    ended = fairfix("gate", "-", table, *both)
    assert ended.code == 0
    assert "warning: no demand is by the group column 'town'; write one with @town" in ended.err
    ended = fairfix("gate", "-", table, *both, "--budget", "spd@town=0.05", "--json")
    assert ended.code == 1
    found = json.loads(ended.out)
    verdicts = {check["column"]: check["verdict"] for check in found["checks"]}
    assert verdicts == {"sex": "certified", "town": "violated"}
    ended = fairfix("gate", "-", table, *both, "--budget", "spd@twon=0.05")
    assert "'twon', which is not a group column; add --group twon; did you mean" in ended.sentence


def test_floors_hold_by_their_lower_bound(fairfix: Run, table: Path) -> None:
    rows = ALIKE.copy()
    rows.loc[rows.index % 5 == 0, "p"] = 1 - rows["p"]  # every fifth decision is wrong
    write(table, rows)

    def code(*floors: str) -> int:
        options = [word for floor in floors for word in ("--floor", floor)]
        return fairfix("gate", "-", table, *SCORES, *SPD, *options).code

    assert code("balanced_accuracy=0.78", "accuracy=0.78", "auc=0.7", "f1=0.6") == 0
    assert code("accuracy=0.799") == 3
    assert code("accuracy=0.85") == 1
    assert code("accuracy=0.85:warn") == 0


def test_a_model_that_fell_below_its_baseline(
    fairfix: Run, place: Place, trained: nn.Module
) -> None:
    words = (place.test, "--budget", "spd=0.9", "--max-drop", 0.02, "--json")
    same = fairfix("gate", place.model, *words, "--baseline", place.model)
    assert same.code == 0, same.err
    network = torch.load(place.model, weights_only=False)
    with torch.no_grad():
        network[0].weight[:, 1:] = 0
    worse = place.folder / "worse.pt"
    torch.save(network, worse)
    fell = fairfix("gate", worse, *words, "--baseline", place.model)
    assert fell.code == 1
    (check,) = (c for c in json.loads(fell.out)["checks"] if c["kind"] == "max-drop")
    assert check["value"] > 0.02
    assert check["low"] > 0.02
    assert fairfix("gate", place.model, *words, "--baseline", worse).code == 0


def test_a_trivial_rule_passes_only_with_a_floor(fairfix: Run, table: Path) -> None:
    write(table, ALIKE)
    words = ("gate", "-", table, *SCORES, *SPD, "--threshold", 1)
    ended = fairfix(*words)
    assert ended.code == 3
    assert "warning: the rule is trivial" in ended.err
    assert "--floor" in ended.out
    assert fairfix(*words, "--on-inconclusive", "warn").code == 3
    assert fairfix(*words, "--floor", "balanced_accuracy=0.7").code == 1
    with_floor = fairfix(*words, "--floor", "accuracy=0.6", "--json")
    assert with_floor.code == 0
    assert json.loads(with_floor.out)["trivial"] is True
    assert any("trivial" in warning for warning in json.loads(with_floor.out)["warnings"])


def test_a_floor_that_any_constant_decision_meets_excludes_nothing(
    fairfix: Run, table: Path
) -> None:
    words = ("gate", "-", write(table, ALIKE), *SCORES, *SPD)
    for floor in ("accuracy=0.01", "accuracy=0.29"):
        assert fairfix(*words, "--floor", floor, "--threshold", 1).code == 3
        ended = fairfix(*words, "--floor", floor, "--json")
        found = json.loads(ended.out)
        assert ended.code == 0
        (said,) = found["serious_warnings"]
        assert f"{floor.replace('=', ' >= ')} excludes nothing" in said
    ended = fairfix(*words, "--floor", "accuracy=0.31", "--json")
    assert not json.loads(ended.out)["serious_warnings"]


# Demands: command line, settings, the rule.


def test_demands_in_a_settings_file(fairfix: Run, table: Path) -> None:
    write(table, APART)
    settings = table.with_name("fairfix.toml")

    def code(text: str, *options: str) -> int:
        settings.write_text(f'score = "p"\ngroup = "sex"\nprivileged = "m"\n{text}\n')
        return fairfix("gate", "-", table, *options).code

    assert code('[gate]\nbudget = ["spd=0.05"]') == 1
    assert code('[gate]\nbudget = ["spd=0.05:warn", "spd=0.4"]') == 0
    assert code('[gate]\nbudget = "spd=0.3"\nfloor = ["accuracy=0.9"]') == 0
    assert code("budget = 0.05") == 1
    assert code('metric = "eod"\nbudget = 0.05') == 0
    assert code('budget = ["eod=0.05", "spd=0.05"]') == 1
    assert code('[gate]\nbudget = ["spd=0.05"]', "--budget", "spd=0.4") == 0
    assert code('budget = "spd=0.05"\n[gate]\nbudget = "spd=0.4"') == 0
    assert code('[gate]\nbudget = "spd=0.4"\non-inconclusive = "never"') == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "The gate needs a budget; give one such as --budget spd=0.05"),
        (("--floor", "accuracy=0.5"), "The gate needs a budget"),
        (("--budget", "0.05"), "--budget 0.05 names no metric or measure; write --budget spd=0.05"),
        (("--budget", "speed=0.05"), "not 'speed'"),
        (("--budget", "spd=5"), "A budget must be between 0 and 1, not 5."),
        (("--budget", "spd=0"), "A budget must be between 0 and 1, not 0."),
        (("--budget", "spd=x"), "KEY=NUMBER:warn, such as spd=0.05, not 'spd=x'."),
        (("--budget", "spd=nan"), "A budget must be KEY=NUMBER"),
        (("--budget", "spd=0.1:loud"), "A budget must be KEY=NUMBER"),
        ((*SPD, *SPD), "--budget is given twice for spd with severity error"),
        (
            (*SPD, "--floor", "spd=0.5"),
            "a floor does not limit; write --budget spd=0.5.",
        ),
        ((*SPD, "--confidence", "0.5"), "confidence must be in (0.5, 1), not 0.5."),
        ((*SPD, "--baseline", "old.pt"), "give one of them and --baseline together."),
        ((*SPD, "--max-drop", "0.02"), "give one of them and --baseline together."),
        ((*SPD, "--threshold", "0.5", "--rule", "r.json"), "exclude each other; give one."),
    ],
)
def test_a_wrong_demand(fairfix: Run, table: Path, options: tuple[str, ...], said: str) -> None:
    ended = fairfix("gate", "-", write(table, ALIKE), *SCORES, *options)
    assert ended.code == 2
    assert said in ended.sentence


def test_the_budget_of_the_rule_counts_where_none_is_given(fairfix: Run, table: Path) -> None:
    rule = table.with_name("net.rule.json")
    rule.write_text(json.dumps(as_saved(DecisionRule(0.5, metric="spd", budget=0.2))))
    ended = fairfix("gate", "-", write(table, ALIKE), *SCORES, "--rule", rule)
    assert ended.code == 0
    assert "the budget is the rule's own: gap of spd < 0.2" in ended.err
    write(table, APART)
    assert fairfix("gate", "-", table, *SCORES, "--rule", rule, *SPD).code == 1


@pytest.mark.parametrize(
    ("own", "options", "code"),
    [
        (0.2, (), 0),
        (0.21, (), 2),
        (0.9999, (), 2),
        (0.9999, ("--also", "eod=0.1"), 2),
        (0.9999, ("--budget", "spd=0.9"), 0),
    ],
)
def test_a_large_budget_of_the_rule_must_be_named(
    fairfix: Run, table: Path, own: float, options: tuple[str, ...], code: int
) -> None:
    rule = table.with_name("net.rule.json")
    rule.write_text(json.dumps(as_saved(DecisionRule(0.5, metric="spd", budget=own))))
    ended = fairfix("gate", "-", write(table, ALIKE), *SCORES, "--rule", rule, *options)
    assert ended.code == code, ended.err
    if code == 2:
        assert ended.sentence == (
            f"The budget in the rule in net.rule.json is spd={own:g}, above 0.2; name the budget "
            "to test with --budget."
        )


# The ratio of selection rates: .2 / .4 of APART, .3 / .3 of ALIKE.


@pytest.mark.parametrize("demand", [("--budget", "di=0.2"), ("--floor", "di=0.8")])
def test_both_ways_to_write_the_four_fifths_rule(
    fairfix: Run, table: Path, demand: tuple[str, ...]
) -> None:
    assert fairfix("gate", "-", write(table, ALIKE), *SCORES, *demand).code == 0
    ended = fairfix("gate", "-", write(table, APART), *SCORES, *demand, "--json")
    assert ended.code == 1
    (check,) = json.loads(ended.out)["checks"]
    assert (check["value"], check["gap"]["value"]) == pytest.approx((0.5, 0.5))
    assert check["gap"]["low"] == pytest.approx(1 - check["high"])
    out = fairfix("gate", "-", table, *SCORES, *demand).out
    assert "gap 0.500" in out
    assert "ratio 0.500" in out


@pytest.mark.parametrize("number", ["0.8", "0.5", "0.95"])
def test_a_ratio_given_as_a_budget_is_refused(
    fairfix: Run, place: Place, table: Path, number: str
) -> None:
    said = (
        "A budget of di is 1 - ratio; for the four-fifths rule write --budget di=0.2 or --floor "
        "di=0.8."
    )
    write(table, ALIKE)
    ended = fairfix("gate", "-", table, *SCORES, "--budget", f"di={number}")
    assert (ended.code, ended.sentence) == (2, said)
    settings = table.with_name("fairfix.toml")
    settings.write_text(f'[gate]\nbudget = "di={number}"\n')
    assert fairfix("gate", "-", table, *SCORES).sentence == said
    settings.unlink()
    for command in ("identity", "audit"):
        ended = fairfix(command, place.model, place.val, "--metric", "di", "--budget", number)
        assert (ended.code, ended.sentence) == (2, said)


def test_what_is_known_of_both_budgets_of_a_rule(fairfix: Run, table: Path) -> None:
    """--also leaves the rule's budget in force."""
    rule = table.with_name("net.rule.json")
    rule.write_text(json.dumps(as_saved(DecisionRule(0.5, metric="spd", budget=0.1))))
    write(table, APART)
    ended = fairfix("gate", "-", table, *SCORES, "--rule", rule, "--also", "eod=0.1", "--json")
    found = [(c["key"], c["verdict"]) for c in json.loads(ended.out)["checks"]]
    assert found == [("spd", "violated"), ("eod", "certified")]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--floor", "selection_rate.min=0.15"), 0),
        (("--floor", "selection_rate.min=0.2"), 3),
        (("--floor", "selection_rate.min@sex=0.3"), 1),
        (("--floor", "selection_rate=0.28"), 0),
        (("--ceiling", "selection_rate=0.32"), 0),
        (("--ceiling", "selection_rate=0.3"), 3),
        (("--ceiling", "selection_rate=0.25"), 1),
        (("--ceiling", "selection_rate=0.25:warn"), 0),
    ],
)
def test_floors_and_ceilings_of_rates(
    fairfix: Run, table: Path, options: tuple[str, ...], code: int
) -> None:
    wide = ("--budget", "spd=0.4")
    ended = fairfix("gate", "-", write(table, APART), *SCORES, *wide, *options, "--json")
    assert ended.code == code, ended.err
    check = json.loads(ended.out)["checks"][-1]
    assert check["value"] == pytest.approx(0.2 if ".min" in options[1] else 0.3)
    assert check["low"] < check["value"] < check["high"]


# Rows that the rule was fitted on.


@pytest.fixture
def debiased(fairfix: Run, place: Place) -> Path:
    path = place.folder / "fair.pt"
    assert fairfix("thresholds", place.model, place.val, "-o", path).code == 0
    return path


def test_a_table_that_the_rule_was_tuned_on_is_refused(
    fairfix: Run, place: Place, debiased: Path
) -> None:
    junit = place.folder / "gate.xml"
    ended = fairfix("gate", debiased, place.val, "--junit", junit)
    assert ended.code == 2
    assert "the rule was tuned on 840 of its 1,200 rows" in ended.sentence
    assert list(Verdicts(junit).type.values()) == ["wrong input"]


def test_validation_rows_are_known_in_another_table(
    fairfix: Run, place: Place, debiased: Path
) -> None:
    from fairfix.data.row_fingerprints import fingerprint_rows
    from fairfix.workflows.case import load

    known = fingerprint_rows(load(place.model, place.val).problem, "salt")
    assert known is not None
    change_report(debiased, tuned_rows=known.to_json())
    fitted, fresh = pd.read_csv(place.val), pd.read_csv(place.test)
    mostly = place.table(pd.concat([fitted[:200], fresh]), "mostly.csv")
    ended = fairfix("gate", debiased, mostly)
    assert ended.code == 2
    assert "20.0% of 1,000 compared rows equal a row that the rule was tuned on" in ended.sentence
    partly = place.table(pd.concat([fitted[:30], fresh[:770]]), "partly.csv")
    ended = fairfix("gate", debiased, partly, "--budget", "spd=0.9")
    assert ended.code == 0
    assert "warning: 3.8% of 800 compared rows equal a row" in ended.err
    ended = fairfix("gate", debiased, place.test, "--budget", "spd=0.9")
    assert ended.code == 0
    assert "warning" not in ended.err


@pytest.mark.parametrize("column", ["x0", "x1", "x2", "x3"])
def test_tuned_rows_with_a_changed_last_digit_are_refused(
    fairfix: Run, place: Place, draw: Draw, column: str
) -> None:
    frame = draw(1200, 2)
    frame["x1"] = frame["x1"] * 1000 + 0.1234567
    val = place.table(frame, "val.csv")
    fair = place.folder / "fair.pt"
    assert fairfix("thresholds", place.model, val, "-o", fair, "--allow-trivial").code == 0
    frame[column] += 1e-6
    ended = fairfix("gate", fair, place.table(frame, "changed.csv"), "--budget", "spd=0.9")
    assert ended.code == 2
    assert "cannot test this rule" in ended.sentence
    frame.round(5).to_csv(place.folder / "rounded.csv", index=False, float_format="%.7g")
    assert fairfix("gate", fair, place.folder / "rounded.csv").code == 2


def test_tuned_rows_with_flipped_labels_and_noise_are_refused(fairfix: Run, place: Place) -> None:
    fair = place.folder / "fair.pt"
    assert fairfix("thresholds", place.model, place.val, "-o", fair).code == 0
    frame = pd.read_csv(place.val)
    frame["label"] = 1 - frame["label"]
    frame["x0"] += 0.3
    frame[["x1", "x2", "x3"]] *= 1 + 1e-4 * frame[["x0"]].to_numpy()
    changed = place.table(frame, "changed.csv")
    assert "nearly equal a row" in fairfix("gate", fair, changed).sentence
    unlabeled = place.table(frame.drop(columns="label"), "unlabeled.csv")
    assert "nearly equal a row" in fairfix("gate", fair, unlabeled).sentence


def test_tuned_scores_are_known_without_features(fairfix: Run, tmp_path: Path) -> None:
    rows = people(f=(400, 0.3), m=(400, 0.3))
    rows["p"] = (rows["p"] - 0.5) * np.random.default_rng(0).random(800) + 0.5
    rows["sex"] = np.random.default_rng(1).choice(["f", "m"], 800)
    tuned = write(tmp_path / "val.csv", rows)
    assert fairfix("thresholds", "-", tuned, *SCORES, "-o", tmp_path / "fair").code == 0
    rows["label"] = 1 - rows["label"]
    words = ("--rule", tmp_path / "fair.rule.json", *SCORES, *SPD)
    ended = fairfix("gate", "-", write(tmp_path / "copy.csv", rows), *words)
    assert "nearly equal a row that the rule was tuned on" in ended.sentence


def test_tuned_rows_are_known_by_their_ids(fairfix: Run, place: Place, draw: Draw) -> None:
    frame = draw(1200, 2)
    frame.insert(0, "nr", [f"r{i}" for i in range(1200)])
    fair = place.folder / "fair.pt"
    words = ("thresholds", place.model, place.table(frame, "val.csv"), "--id", "nr", "-o", fair)
    assert fairfix(*words).code == 0
    changed = frame.assign(x0=frame["x0"] + 0.1, x3=frame["x3"] * 1.01)
    ended = fairfix("gate", fair, place.table(changed, "changed.csv"))
    assert ended.code == 2
    assert "70.0% of 1,200 compared rows equal a row" in ended.sentence
    other = draw(1200, 9)
    other.insert(0, "nr", [f"r{i}" for i in range(1200)])
    ended = fairfix("gate", fair, place.table(other, "other.csv"), "--budget", "spd=0.9")
    assert ended.code == 0
    assert "warning" not in ended.err


def test_what_could_not_be_compared_is_part_of_the_verdict(
    fairfix: Run, place: Place, debiased: Path
) -> None:
    words = ("gate", debiased, place.test, "--budget", "spd=0.9")
    path = debiased.with_suffix(".report.json")
    assert "Unchecked" not in fairfix(*words, "--require-unseen").out
    change_report(debiased, model={"weights_sha256_after": "0" * 64})
    assert "fair.report.json is for other weights than the model" in fairfix(*words).err
    path.write_text("{")
    assert "fair.report.json is not the report of the rule" in fairfix(*words).sentence
    assert "fair.report.json is not valid JSON" in fairfix(*words, "--threshold", 0.5).sentence
    path.unlink()
    ended = fairfix(*words)
    assert ended.code == 0
    assert "Unchecked: there is no report beside the model" in " ".join(ended.out.split())
    assert "Passed: the demand is certified; 1 point is unchecked." in ended.out
    document = json.loads(fairfix(*words, "--json").out)
    (unchecked,) = document["unchecked"]
    assert unchecked.startswith("there is no report beside the model")
    assert "whether it is the rule that was written; restore the report" in unchecked
    ended = fairfix(*words, "--require-unseen")
    assert ended.code == 3
    assert "Inconclusive: --require-unseen does not let unchecked rows pass." in ended.out


def test_a_threshold_in_place_of_the_rule_is_unchecked(
    fairfix: Run, place: Place, debiased: Path
) -> None:
    words = ("gate", debiased, place.test, "--budget", "spd=0.9", "--threshold", 0.5)
    found = json.loads(fairfix(*words, "--json").out)
    assert any("which belongs to the model, is unchecked" in each for each in found["unchecked"])
    assert fairfix(*words, "--require-unseen").code == 3
    words = ("gate", place.model, *words[2:-2], "--threshold", 0.4, "--json")
    unchecked = json.loads(fairfix(*words).out)["unchecked"]
    assert not any("belongs to the model" in each for each in unchecked)


def test_another_privileged_group_than_the_reports_is_noted(
    fairfix: Run, place: Place, debiased: Path
) -> None:
    words = ("gate", debiased, place.test, "--budget", "spd=0.9", "--privileged")
    assert "privileged" not in fairfix(*words, "1").err
    assert (
        "fair.report.json has '1' as the privileged group, but here it is '0': signs are reversed"
    ) in fairfix(*words, "0").err


# What is shown.


def test_the_terminal_begins_with_what_the_table_can_certify(fairfix: Run, table: Path) -> None:
    ended = fairfix("gate", "-", write(table, FEW), *SCORES, *SPD)
    first, *rest = ended.out.splitlines()
    assert first.startswith(
        "power: these rows (f: 100, m: 100) cannot certify a gap of spd < 0.05 by sex"
    )
    assert any("gap of spd < 0.05" in line and "inconclusive" in line for line in rest)
    assert "Rows needed if the true gap equals the estimate: f: " in " ".join(rest)
    assert rest[-2].startswith("Inconclusive: the demand is not certified")
    assert ended.err == (
        "fairfix: decisions by score > 0.5 (no rule found)\n"
        "fairfix: there is no report beside the model, so it is unchecked whether the rule was "
        "tuned on these rows\n"
    )
    ended = fairfix("gate", "-", write(table, ALIKE), *SCORES, *SPD)
    text = " ".join(ended.out.split())
    assert ") certify a gap of spd < 0.05 by sex if the estimated gap is at most 0.0" in text
    quiet = fairfix("gate", "-", table, *SCORES, *SPD, "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_json_matches_its_schema(fairfix: Run, table: Path) -> None:
    schema = json.loads((resources.files("fairfix.report") / "gate.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    for rows in (ALIKE, APART, NO_POSITIVES):
        words = ("--budget", "aod=0.1", "--floor", "accuracy=0.5")
        ended = fairfix("gate", "-", write(table, rows), *SCORES, *words, "--json")
        found: dict[str, Any] = json.loads(ended.out)
        jsonschema.Draft202012Validator(schema).validate(found)
        assert found["exit_code"] == ended.code
        assert [c["key"] for c in found["checks"]] == ["aod", "accuracy"]


def test_github_gets_annotations_and_a_summary(
    fairfix: Run, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = table.with_name("summary.md")
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    words = ("gate", "-", write(table, APART), *SCORES, *SPD)
    assert "::error" not in fairfix(*words).err
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    ended = fairfix(*words, "--json")
    assert json.loads(ended.out)["exit_code"] == 1
    (line,) = (line for line in ended.err.splitlines() if line.startswith("::"))
    assert line.startswith("::error title=fairfix gate%3A violated::gap of spd < 0.05 by sex: ")
    assert summary.read_text().startswith("before\n## fairfix gate: violated\n")
    assert "\nScores on 4,000 rows of people.csv, decided by score" in summary.read_text()
    ended = fairfix("gate", "-", table.with_name("none.csv"), *SCORES, *SPD)
    assert ended.code == 2
    assert "::error title=fairfix gate reached no verdict%3A wrong input::" in ended.err
    assert "## fairfix gate reached no verdict: wrong input" in summary.read_text()


def test_the_same_gate_gives_the_same_bytes(fairfix: Run, table: Path) -> None:
    write(table, APART)
    texts = []
    for name in ("a", "b"):
        junit, sarif = table.with_name(f"{name}.xml"), table.with_name(f"{name}.sarif")
        words = (*SPD, "--floor", "f1=0.5", "--junit", junit, "--sarif", sarif, "--json")
        ended = fairfix("gate", "-", table, *SCORES, *words)
        texts.append((ended.out, junit.read_text(), sarif.read_text()))
    assert texts[0] == texts[1]


@pytest.mark.parametrize(("rows", "code"), [(ALIKE, 0), (APART, 1), (FEW, 3)])
def test_a_gate_on_decisions_alone_needs_no_labels(
    fairfix: Run, tmp_path: Path, rows: pd.DataFrame, code: int
) -> None:
    rows.drop(columns="label").to_csv(tmp_path / "rows.csv", index=False)
    demands = (*SPD, "--floor", "selection_rate.min=0.1", "--json")
    ended = fairfix("gate", "-", tmp_path / "rows.csv", *SCORES, *demands)
    assert ended.code == code, ended.err


# Rows that are not independent.


def test_copies_of_rows_certify_no_more_than_the_rows(fairfix: Run, place: Place) -> None:
    single = pd.read_csv(place.test).iloc[:60]
    copied = place.table(pd.concat([single] * 30), "copied.csv")
    wide = ("--budget", "spd=0.4")
    files = (place.table(single, "single.csv"), copied)
    one, many = (fairfix("gate", place.model, each, *wide, "--json") for each in files)
    assert (one.code, many.code) == (3, 3)
    (before,), (after,) = (json.loads(ended.out)["checks"] for ended in (one, many))
    assert after["value"] == pytest.approx(before["value"])
    width = [check["high"] - check["low"] for check in (before, after)]
    assert width[1] > 0.8 * width[0]
    assert "warning: 1,800 of 1,800 rows are copies" in many.err
    assert "count as 60 independent rows" in many.err


@pytest.mark.parametrize("option", ["--cluster", "--id"])
def test_persons_with_several_rows(fairfix: Run, table: Path, option: str) -> None:
    rows = ALIKE.assign(person=[f"p{i // 20}" for i in range(len(ALIKE))])
    write(table, rows)
    plain = fairfix("gate", "-", table, *SCORES, *SPD, "--ignore", "person", "--json")
    assert plain.code == 0
    ended = fairfix("gate", "-", table, *SCORES, *SPD, option, "person", "--json")
    assert ended.code == 3
    widths = [
        check["high"] - check["low"]
        for check in (json.loads(each.out)["checks"][0] for each in (plain, ended))
    ]
    assert widths[1] > 3 * widths[0]


def test_few_persons_are_too_few_rows(fairfix: Run, table: Path) -> None:
    write(table, ALIKE.assign(person=[i % 9 for i in range(len(ALIKE))]))
    ended = fairfix("gate", "-", table, *SCORES, *SPD, "--cluster", "person")
    assert ended.code == 3
    assert "group f has rows of 9 clusters, and at least 10 are needed" in " ".join(
        ended.out.split()
    )
    write(table, ALIKE.assign(person=[None, *range(len(ALIKE) - 1)]))
    ended = fairfix("gate", "-", table, *SCORES, *SPD, "--cluster", "person")
    assert ended.code == 2
    assert "cluster column 'person': 1 row has no value; give each row" in ended.sentence


# What a settings file may set, and how that shows.


def test_every_setting_of_a_file_is_named(fairfix: Run, table: Path) -> None:
    write(table, FEW)
    settings = table.with_name("fairfix.toml")
    settings.write_text(
        'score = "p"\ngroup = "sex"\nprivileged = "m"\nconfidence = 0.8\nthreshold = 0.4\n'
        '[gate]\nbudget = "spd=0.05"\non-inconclusive = "warn"\n'
    )
    ended = fairfix("gate", "-", table, "--json")
    found = json.loads(ended.out)
    assert ended.code == 0
    (note,) = [each for each in found["notes"] if each.startswith("fairfix.toml sets ")]
    for part in (
        "score = p",
        "group = [sex]",
        "confidence = 0.8",
        "threshold = 0.4",
        "budget = [spd=0.05]",
        "on-inconclusive = warn",
    ):
        assert part in note
    assert found["warnings"][:2] == [
        "the confidence of 0.8 comes from fairfix.toml",
        "inconclusive demands pass because fairfix.toml sets on-inconclusive = warn",
    ]
    assert set(found["warnings"][:2]) < set(found["unchecked"])
    assert ended.err.count("comes from fairfix.toml") == 1
    assert fairfix("gate", "-", table, "--require-unseen").code == 3
    given = ("--confidence", "0.8", "--on-inconclusive", "warn", "--json")
    found = json.loads(fairfix("gate", "-", table, *given).out)
    assert not any("fairfix.toml" in warning for warning in found["warnings"])
    for command in (("audit", "-", table), ("identity", "-", table)):
        assert "fairfix.toml sets group = [sex], privileged = m, score = p" in fairfix(*command).err


def test_the_auc_difference_has_a_budget(fairfix: Run, place: Place) -> None:
    sarif, junit = place.folder / "gate.sarif", place.folder / "gate.xml"
    budgets = ("--budget", "aucd=0.15", "--budget", "aucd=0.0001:warn", "--floor", "accuracy=0.5")
    files = ("--sarif", sarif, "--junit", junit, "--json")
    found = json.loads(fairfix("gate", place.model, place.test, *budgets, *files).out)
    strict, loose = sorted(
        (each for each in found["checks"] if each["key"] == "aucd"), key=lambda each: each["limit"]
    )
    assert (loose["verdict"], strict["standing"]) == ("certified", "warned")
    assert loose["sign"] == "0 minus 1"
    audited = json.loads(fairfix("audit", place.model, place.test, "--json").out)
    expected = audited["groups"]["group"]["gaps"]["aucd"]
    assert {key: loose[key] for key in ("value", "low", "high")} == pytest.approx(expected)
    assert sarif.is_file()
    assert junit.is_file()


def test_a_debiasing_command_tests_the_auc_difference_and_does_not_search_it(
    fairfix: Run, place: Place
) -> None:
    way = ("--also", "aucd=0.2", "--no-subgroups", "--allow-trivial", "--json")
    report = json.loads(fairfix("identity", place.model, place.val, *way).out)
    (promise,) = report["evidence"]["promises"]
    assert promise["key"] == "aucd"
    assert report["goals"] is None
