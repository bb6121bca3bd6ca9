"""How sure of the budget a result is: --risk and --k, what is said of them, and the study."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

import fairfix as library
from fairfix.data.splitting import random_halves
from fairfix.errors import UsageError
from fairfix.methods._search import LEARNED, Search
from fairfix.methods.eqodds import eqodds
from fairfix.methods.identity import identity
from fairfix.methods.thresholds import thresholds
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES
from fairfix.metrics.registry import METRICS, noise_ceiling
from tests.helpers.paths import ROOT
from tests.helpers.runs import Place, Run
from tests.helpers.toys import scored_rows, table

sys.path.insert(0, str(ROOT / "benchmarks"))

import margins
import networks

BA = PERFORMANCES["balanced_accuracy"]


@pytest.fixture(autouse=True)
def small_and_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The sample models whatever the environment says, on one thread."""
    monkeypatch.delenv("FAIRFIX_DATA", raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# Every search knows the risk.


@pytest.mark.parametrize("randomized", [False, True])
@pytest.mark.parametrize("n_groups", [2, 3])
def test_a_larger_risk_buys_performance_with_chance(n_groups: int, randomized: bool) -> None:
    problem = scored_rows(1500, n_groups, seed=1)
    found = []
    for risk in (0.02, 0.2, 0.45):
        objective = Objective(budget=0.1, risk=risk)
        result = thresholds(problem, objective, randomized=randomized)
        counts = problem.counts(result.policy.probability(problem.scores, problem.groups))
        assert float(objective.chance(counts)) >= 1 - risk
        assert not result.notes
        found.append(float(BA(counts)))
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_a_shared_cut_is_the_best_of_those_that_are_sure_enough() -> None:
    problem, objective = scored_rows(800, seed=2), Objective(budget=0.1, risk=0.1, k=1.0)
    best = -math.inf
    for cut in [-1.0, *problem.scores.tolist()]:
        counts = problem.counts(problem.scores > cut)
        if float(objective.chance(counts)) >= 0.9:
            best = max(best, float(BA(counts)))
    (step,) = identity(problem, objective).trajectory
    assert step.performance == pytest.approx(best)
    assert step.utility == pytest.approx(best)


@pytest.mark.parametrize("method", [identity, thresholds])
def test_where_nothing_is_sure_enough_the_likeliest_is_taken_and_said(method: type) -> None:
    problem, objective = scored_rows(24, seed=3), Objective(risk=0.01)
    result = method(problem, objective)
    counts = problem.counts(result.policy.decide(problem.scores, problem.groups))
    chance = float(objective.chance(counts))
    assert 0 < chance < 0.99
    assert any(
        note.startswith("nothing found meets the budget with the chance of 0.99")
        and note.endswith(f"of {chance:.3f}, is taken")
        for note in result.notes
    )
    shared = max(
        float(objective.chance(problem.counts(problem.scores > cut)))
        for cut in [-1.0, *problem.scores.tolist()]
    )
    assert chance >= shared - 1e-12


def test_methods_that_do_not_aim_at_the_budget_say_how_sure_it_is() -> None:
    problem = scored_rows(400, seed=4)
    assert any(
        note.startswith("nothing found meets")
        for note in eqodds(problem, Objective(risk=0.1)).notes
    )
    assert not any(
        note.startswith("nothing found meets") for note in eqodds(problem, Objective()).notes
    )


def test_networks_that_were_learned_must_be_surer() -> None:
    problem, objective = scored_rows(900, seed=5), Objective(budget=0.1, risk=0.2, k=1.0)
    for learns, factor in ((False, 1), (True, LEARNED)):
        search = Search(problem, objective, learns=learns)
        search.offer(problem.scores.sqrt(), dict)
        cut = search.steps[1].threshold
        counts = problem.counts(problem.scores.sqrt() > cut)
        chance = float(replace(objective, k=factor).chance(counts))
        assert 0.8 <= chance < 0.83


# Command, library, report.


def test_command_and_library_agree(place: Place, fairfix: Run) -> None:
    words = ("--metric", "spd", "--budget", 0.1, "--risk", 0.3, "--k", 1.2, "--trust-checkpoint")
    ended = fairfix("thresholds", place.model, place.val, "--test", place.test, *words, "--json")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert report["objective"]["risk"] == 0.3
    assert report["objective"]["standard_errors"] == 1.2
    case = library.load(place.model, place.val, trust=True)
    outcome = library.debias(case, "thresholds", budget=0.1, risk=0.3, k=1.2, test=place.test)
    assert outcome.rule.to_json()["thresholds"] == report["rule"]["thresholds"]
    (chosen,) = (point for point in outcome.tradeoff_curve if point.chosen)
    assert 0.7 <= chosen.probability < 0.75
    other = library.debias(case, "thresholds", budget=0.1, test=place.test)
    assert other.rule.to_json()["thresholds"] != report["rule"]["thresholds"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--risk", "1.5"), "A risk lies between 0 and 1, not 1.5."),
        (("--k", "0"), "k is a number above 0, not 0.0."),
        (("--risk", "0.1", "--margin", "0.01"), "--risk has an effect only with --margin auto"),
        (("--k", "1", "--objective", "tradeoff"), "--k has an effect only with --margin auto"),
    ],
)
def test_what_does_not_fit_is_refused(
    words: tuple[str, ...], said: str, place: Place, fairfix: Run
) -> None:
    ended = fairfix("identity", place.model, place.val, "--trust-checkpoint", *words)
    assert ended.code == 2
    assert said in ended.sentence


def test_settings_hold_them_and_a_margin_on_the_command_line_wins(
    place: Place, fairfix: Run
) -> None:
    (place.folder / "fairfix.toml").write_text("risk = 0.25\nk = 1\n")
    found = []
    for words in ((), ("--margin", "0.01")):
        ended = fairfix(
            "identity", place.model, place.val, "--trust-checkpoint", "--json", "--force", *words
        )
        assert ended.code == 0, ended.err
        objective = json.loads(ended.out)["objective"]
        found.append((objective["margin"], objective["risk"], objective["standard_errors"]))
    assert found == [("auto", 0.25, 1.0), (0.01, None, None)]


def test_the_library_refuses_a_risk_with_a_margin(place: Place) -> None:
    case = library.load(place.model, place.val, trust=True)
    with pytest.raises(UsageError, match="goes with margin auto"):
        library.debias(case, "identity", risk=0.1, margin=0.01)


# What a pass was bought with.


def test_the_price_of_caution_and_a_nearly_trivial_rule_are_said(place: Place) -> None:
    case = library.load(place.model, place.val, trust=True)
    careful = library.debias(case, "thresholds", k=4.0, test=place.test)
    (price,) = (w for w in careful.warnings if "gave up" in w)
    chance, other, lost, reached = map(float, re.findall(r"\d\.\d+", price))
    (chosen,) = (p for p in careful.tradeoff_curve if p.chosen)
    assert chance == pytest.approx(chosen.probability, abs=0.005)
    kept = careful.fitting.debiased.performance["balanced_accuracy"]
    assert lost == pytest.approx(reached - kept, abs=0.0011)
    assert lost >= 0.05
    assert other < chance
    performance = careful.judged.debiased.performance["balanced_accuracy"]
    nearly = [w for w in careful.warnings if "nearly trivial" in w]
    assert bool(nearly) == (performance < 0.55 and not careful.judged.debiased.trivial)
    bold = library.debias(case, "thresholds", k=1.0, test=place.test)
    assert not any("gave up" in w or "nearly trivial" in w for w in bold.warnings)
    fixed = library.debias(case, "thresholds", margin=0.049, test=place.test)
    assert not any("gave up" in w for w in fixed.warnings)


def test_a_nearly_trivial_rule_is_named_with_what_was_there_before() -> None:
    case = library.load(
        *(f"sample_models/loh/{name}" for name in ("model.pt", "val.csv")), arch="mlp:relu"
    )
    outcome = library.debias(case, "identity", test="sample_models/loh/test.csv")
    after, before = outcome.test.debiased, outcome.test.unmodified
    assert not after.trivial
    expected = [f"{e.performance['balanced_accuracy']:.3f}" for e in (after, before)]
    (said,) = (w for w in outcome.warnings if "nearly trivial" in w)
    assert re.findall(r"\d\.\d{3}", said) == expected
    assert float(expected[0]) < 0.55


# The study.


def test_the_ceiling_is_how_often_equal_rates_hold_the_budget() -> None:
    """Groups of one rate: fitted to a gap of 0 on one table, judged on another."""
    rng = np.random.default_rng(0)
    n, rate, budget = np.array([350, 1200]), 0.3, 0.05
    hits = torch.from_numpy(n * rate).double()
    counts = table(hits.tolist(), [0.0, 0.0], (torch.from_numpy(n) - hits).tolist(), [0.0, 0.0])
    draws = rng.binomial(n, rate, (2, 100_000, 2)) / n
    gaps = draws[..., 0] - draws[..., 1]
    judging = noise_ceiling(METRICS["spd"], budget, counts)
    both = noise_ceiling(METRICS["spd"], budget, counts, counts)
    assert judging == pytest.approx((abs(gaps[0]) < budget).mean(), abs=0.01)
    assert both == pytest.approx((abs(gaps[0] - gaps[1]) < budget).mean(), abs=0.01)
    assert both < judging


@pytest.mark.parametrize("method", ["thresholds", "identity"])
def test_ways_are_judged_on_the_half_that_did_not_choose(method: str) -> None:
    pytest.importorskip("fairlearn")
    ways = {"bold": {"margin": 0.0}, "careful": {"risk": 0.01}}
    found = margins.cells("loh", 3, metric="spd", method=method, ways=ways)
    assert [cell.way for cell in found] == ["bold", "careful", "fairlearn"]
    case = networks.networks()["loh"].pooled_case()
    fitting, judged = random_halves(case.problem, 3)
    for cell, options in zip(found, ways.values(), strict=False):
        fitted = library.debias(
            replace(case, problem=fitting),
            method,
            test=replace(case, problem=judged),
            **options,  # type: ignore[arg-type]
        ).judged.debiased
        assert cell.balanced_accuracy == pytest.approx(fitted.performance["balanced_accuracy"])
        assert (cell.held, cell.trivial) == (fitted.met, fitted.trivial)
        assert cell.objective == pytest.approx(fitted.objective)
        assert cell.data == "loh"
        assert cell.ceiling < cell.judging <= 1
    assert found[1].ceiling >= found[0].ceiling


def test_weights_that_a_method_changed_are_judged() -> None:
    case = networks.networks()["zafar"].pooled_case()
    fitting, judged = random_halves(case.problem, 0)
    objective = Objective(margin=0.01)
    rule = margins.chosen("prune", fitting, objective, 0)
    outcome = library.debias(
        replace(case, problem=fitting), "prune", margin=0.01, test=replace(case, problem=judged)
    )
    assert outcome.state is not None
    assert torch.equal(rule(judged), outcome.test_rows.debiased)


def test_the_study_reports_means_by_data_and_over_all(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--networks zafar --resplits 2 --first 5 --method identity"
    margins.main(words.split())
    lines = capsys.readouterr().out.splitlines()
    ways = [*margins.WAYS, *(["fairlearn"] if "fairlearn" in lines[-1] else [])]
    rows = [line.strip("| ").split(" | ") for line in lines[2:]]
    assert [row[:2] for row in rows] == [[data, way] for data in ("zafar", "all") for way in ways]
    cells = [
        cell
        for resplit in (5, 6)
        for cell in margins.cells(
            "zafar", resplit, metric="spd", method="identity", ways=margins.WAYS
        )
        if cell.way == "risk 0.1"
    ]
    held, ceiling, share, _, accuracy, _, _ = map(float, rows[len(ways) + 4][2:])
    assert held == pytest.approx(np.mean([c.held for c in cells]))
    assert ceiling == pytest.approx(np.mean([c.ceiling for c in cells]), abs=5e-4)
    assert share == pytest.approx(held / ceiling, abs=2e-3)
    assert accuracy == pytest.approx(np.mean([c.balanced_accuracy for c in cells]), abs=5e-4)


def test_no_re_splits_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        margins.main(["--resplits", "0"])
    assert "1 re-split" in capsys.readouterr().err
