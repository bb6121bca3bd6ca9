"""Risk and k: their effect on every search, their messages, and the study of margins."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

import fairfix as library
from fairfix.errors import UsageError
from fairfix.methods._result import Result
from fairfix.methods._search import IN_SAMPLE_FACTOR, CandidateSearch
from fairfix.methods.eqodds import eqodds
from fairfix.methods.identity import identity
from fairfix.methods.thresholds import thresholds
from fairfix.metrics.fairness_metrics import METRICS, noise_ceiling
from fairfix.metrics.limits import Limit, RangeLimit
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES
from tests.helpers.paths import ROOT
from tests.helpers.runs import Place, Run
from tests.helpers.toys import scored_rows, table

sys.path.insert(0, str(ROOT / "benchmarks"))

import margins
from benchmark_models import benchmark_models, halved

BA = PERFORMANCES["balanced_accuracy"]


@pytest.fixture(autouse=True)
def small_and_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The sample models whatever the environment says, on one thread."""
    monkeypatch.delenv("FAIRFIX_DATA", raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# The effect on searches.


@pytest.mark.parametrize("randomized", [False, True])
@pytest.mark.parametrize("n_groups", [2, 3])
def test_a_larger_risk_gives_more_performance_and_less_certainty(
    n_groups: int, randomized: bool
) -> None:
    problem = scored_rows(1500, n_groups, seed=1)
    found = []
    for risk in (0.02, 0.2, 0.45):
        objective = Objective(budget=0.1, risk=risk)
        result = thresholds(problem, objective, randomized=randomized)
        counts = problem.counts(result.policy.probability(problem.scores, problem.groups))
        assert float(objective.probability_met(counts)) >= 1 - risk
        assert not result.notes
        found.append(float(BA(counts)))
    assert found == sorted(found)
    assert found[0] < found[-1]


@pytest.mark.parametrize("method", [identity, thresholds])
def test_presets_trade_performance_for_surety(method: Callable[..., Result]) -> None:
    problem = scored_rows(700, seed=1)
    plain = Objective(budget=0.1)
    chances, performances = [], []
    for risk in ("low", None, "high"):
        policy = method(problem, replace(plain, risk=risk)).policy
        counts = problem.counts(policy.probability(problem.scores, problem.groups))
        chances.append(float(plain.probability_met(counts)))
        performances.append(float(BA(counts)))
    assert sorted(chances, reverse=True) == chances
    assert sorted(performances) == performances
    assert chances[0] > chances[2]
    assert performances[0] < performances[2]


def test_the_preset_medium_is_the_default() -> None:
    problem = scored_rows(300, seed=4)
    found = [identity(problem, Objective(risk=risk)).trajectory for risk in (None, "medium")]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("key", "trivial"), [("balanced_accuracy", 0.5), ("accuracy", 0.6), ("f1", 0.8 / 1.4)]
)
@pytest.mark.parametrize("limits", [(), (RangeLimit(BA, low=0.01),)])
def test_a_high_risk_counts_performance_above_half_of_a_trivial_rule(
    key: str, trivial: float, limits: tuple[Limit, ...]
) -> None:
    counts = table(tp=[30, 30], fp=[10, 12], fn=[10, 10], tn=[50, 48])
    performance = PERFORMANCES[key]
    objective = Objective(budget=0.1, performance=performance, risk="high", k=2.0, limits=limits)
    within = float(objective.metric(counts).probability_within(0.1, math.sqrt(2)))
    expected = (float(performance(counts)) - trivial / 2) * within
    assert float(objective.utility(counts)) == pytest.approx(expected)
    assert float(objective.probability_met(counts)) == pytest.approx(within)


def test_a_shared_threshold_is_the_best_that_meets_the_risk() -> None:
    problem, objective = scored_rows(800, seed=2), Objective(budget=0.1, risk=0.1, k=1.0)
    best = -math.inf
    for threshold in [-1.0, *problem.scores.tolist()]:
        counts = problem.counts(problem.scores > threshold)
        if float(objective.probability_met(counts)) >= 0.9:
            best = max(best, float(BA(counts)))
    (step,) = identity(problem, objective).trajectory
    assert step.performance == pytest.approx(best)
    assert step.utility == pytest.approx(best)


@pytest.mark.parametrize("method", [identity, thresholds])
def test_if_nothing_meets_the_risk_the_likeliest_is_chosen_with_a_note(method: type) -> None:
    problem, objective = scored_rows(24, seed=3), Objective(risk=0.01)
    result = method(problem, objective)
    counts = problem.counts(result.policy.decide(problem.scores, problem.groups))
    chance = float(objective.probability_met(counts))
    assert 0 < chance < 0.99
    assert any(
        note.startswith("no candidate meets the budget with a probability of 0.99")
        and note.endswith(f"with {chance:.3f}, is kept")
        for note in result.notes
    )
    shared = max(
        float(objective.probability_met(problem.counts(problem.scores > threshold)))
        for threshold in [-1.0, *problem.scores.tolist()]
    )
    assert chance >= shared - 1e-12


def test_methods_that_ignore_the_budget_note_its_probability() -> None:
    problem = scored_rows(400, seed=4)
    assert any(
        note.startswith("no candidate meets") for note in eqodds(problem, Objective(risk=0.1)).notes
    )
    assert not any(
        note.startswith("no candidate meets") for note in eqodds(problem, Objective()).notes
    )


def test_trained_networks_have_larger_standard_errors() -> None:
    problem, objective = scored_rows(900, seed=5), Objective(budget=0.1, risk=0.2, k=1.0)
    for in_sample, factor in ((False, 1), (True, IN_SAMPLE_FACTOR)):
        search = CandidateSearch(problem, objective, in_sample=in_sample)
        search.add(problem.scores.sqrt(), dict)
        threshold = search.steps[1].threshold
        counts = problem.counts(problem.scores.sqrt() > threshold)
        chance = float(replace(objective, k=factor).probability_met(counts))
        assert 0.8 <= chance < 0.83


# Command line and library.


def test_command_and_library_agree(place: Place, fairfix: Run) -> None:
    words = ("--metric", "spd", "--budget", 0.1, "--risk", 0.3, "--k", 1.2, "--trust-checkpoint")
    result = fairfix("thresholds", place.model, place.val, "--test", place.test, *words, "--json")
    assert result.code == 0, result.err
    report = json.loads(result.out)
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
    ("words", "message"),
    [
        (("--risk", "1.5"), "risk must be in (0, 1), not 1.5."),
        (("--risk", "bold"), "risk must be low, medium, high or a number in (0, 1), not 'bold'."),
        (("--k", "0"), "k must be above 0, not 0.0."),
        (("--risk", "0.1", "--margin", "0.01"), "--risk has an effect only with --margin auto"),
        (("--k", "1", "--objective", "tradeoff"), "--k has an effect only with --margin auto"),
    ],
)
def test_conflicting_risk_options_are_refused(
    words: tuple[str, ...], message: str, place: Place, fairfix: Run
) -> None:
    result = fairfix("identity", place.model, place.val, "--trust-checkpoint", *words)
    assert result.code == 2
    assert message in result.sentence


def test_settings_set_risk_and_k_and_a_margin_on_the_command_line_wins(
    place: Place, fairfix: Run
) -> None:
    (place.folder / "fairfix.toml").write_text("risk = 0.25\nk = 1\n")
    found = []
    for words in ((), ("--margin", "0.01")):
        result = fairfix(
            "identity", place.model, place.val, "--trust-checkpoint", "--json", "--force", *words
        )
        assert result.code == 0, result.err
        objective = json.loads(result.out)["objective"]
        found.append((objective["margin"], objective["risk"], objective["standard_errors"]))
    assert found == [("auto", 0.25, 1.0), (0.01, None, None)]


def test_the_library_refuses_a_risk_with_a_margin(place: Place) -> None:
    case = library.load(place.model, place.val, trust=True)
    with pytest.raises(UsageError, match="use it with margin auto"):
        library.debias(case, "identity", risk=0.1, margin=0.01)


# Warnings.


def test_the_cost_of_certainty_and_a_nearly_trivial_rule_are_warnings(place: Place) -> None:
    case = library.load(place.model, place.val, trust=True)
    careful = library.debias(case, "thresholds", k=4.0, test=place.test)
    (warning,) = (w for w in careful.warnings if "gives up" in w)
    lost, reached, other, chance = map(float, re.findall(r"\d\.\d+", warning))
    (chosen,) = (p for p in careful.tradeoff_curve if p.chosen)
    assert chance == pytest.approx(chosen.probability, abs=0.005)
    kept = careful.validation.debiased.performance["balanced_accuracy"]
    assert lost == pytest.approx(reached - kept, abs=0.0011)
    assert lost >= 0.05
    assert other < chance
    performance = careful.test.debiased.performance["balanced_accuracy"]
    nearly = [w for w in careful.warnings if "nearly trivial" in w]
    assert bool(nearly) == (performance < 0.55 and not careful.test.debiased.trivial)
    bold = library.debias(case, "thresholds", k=1.0, test=place.test)
    assert not any("gives up" in w or "nearly trivial" in w for w in bold.warnings)
    fixed = library.debias(case, "thresholds", margin=0.049, test=place.test)
    assert not any("gives up" in w for w in fixed.warnings)


def test_the_warning_of_a_nearly_trivial_rule_names_both_accuracies() -> None:
    case = library.load(
        *(f"sample_models/loh/{name}" for name in ("model.pt", "val.csv")), arch="mlp:relu"
    )
    outcome = library.debias(case, "identity", test="sample_models/loh/test.csv")
    after, before = outcome.test.debiased, outcome.test.unmodified
    assert not after.trivial
    expected = [f"{e.performance['balanced_accuracy']:.3f}" for e in (after, before)]
    (message,) = (w for w in outcome.warnings if "nearly trivial" in w)
    assert re.findall(r"\d\.\d{3}", message) == expected
    assert float(expected[0]) < 0.55


# The study.


def test_the_ceiling_is_how_often_equal_rates_hold_the_budget() -> None:
    """Groups of one rate: tuned to a gap of 0 on one table, evaluated on another."""
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
def test_settings_are_evaluated_on_the_test_half(method: str) -> None:
    pytest.importorskip("fairlearn")
    settings = {"bold": {"margin": 0.0}, "careful": {"risk": 0.01}}
    found = margins.compare("loh", 3, metric="spd", method=method, settings=settings)
    assert [line.setting for line in found] == ["bold", "careful", "fairlearn"]
    validation, test = halved(benchmark_models()["loh"].task(), 3).cases()
    for cell, options in zip(found, settings.values(), strict=False):
        fitted = library.debias(
            validation,
            method,
            test=test,
            **options,  # type: ignore[arg-type]
        ).test.debiased
        assert cell.balanced_accuracy == pytest.approx(fitted.performance["balanced_accuracy"])
        assert (cell.held, cell.trivial) == (fitted.met, fitted.trivial)
        assert cell.objective == pytest.approx(fitted.objective)
        assert cell.data == "loh"
        assert cell.ceiling < cell.test_ceiling <= 1
    assert found[1].ceiling >= found[0].ceiling


def test_changed_weights_are_evaluated() -> None:
    validation, test = halved(benchmark_models()["zafar"].task(), 0).cases()
    settings = {"margin": {"margin": 0.01}}
    (line, _) = margins.compare("zafar", 0, metric="spd", method="prune", settings=settings)
    outcome = library.debias(validation, "prune", margin=0.01, test=test, recalibrate=False)
    assert outcome.state is not None
    scorer, features = test.problem.network()
    scorer.network.load_state_dict(outcome.state)
    decisions = outcome.result.policy.decide(scorer.score(features), test.problem.groups)
    assert torch.equal(decisions, outcome.test_rows.debiased)
    counts = test.problem.counts(decisions)
    assert line.balanced_accuracy == pytest.approx(float(BA(counts)))
    assert line.held == bool(Objective().met(counts))


def test_the_study_reports_means_by_data_and_over_all(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--networks zafar --resplits 2 --first 5 --method identity"
    margins.main(words.split())
    lines = capsys.readouterr().out.splitlines()
    settings = [*margins.SETTINGS, *(["fairlearn"] if "fairlearn" in lines[-1] else [])]
    rows = [line.strip("| ").split(" | ") for line in lines[2:]]
    assert [row[:2] for row in rows] == [
        [data, setting] for data in ("zafar", "all") for setting in settings
    ]
    cells = [
        cell
        for resplit in (5, 6)
        for cell in margins.compare(
            "zafar", resplit, metric="spd", method="identity", settings=margins.SETTINGS
        )
        if cell.setting == "risk 0.1"
    ]
    held, ceiling, share, _, accuracy, _, _ = map(float, rows[len(settings) + 4][2:])
    assert held == pytest.approx(np.mean([c.held for c in cells]))
    assert ceiling == pytest.approx(np.mean([c.ceiling for c in cells]), abs=5e-4)
    assert share == pytest.approx(held / ceiling, abs=2e-3)
    assert accuracy == pytest.approx(np.mean([c.balanced_accuracy for c in cells]), abs=5e-4)


def test_no_re_splits_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        margins.main(["--resplits", "0"])
    assert "1 re-split" in capsys.readouterr().err
