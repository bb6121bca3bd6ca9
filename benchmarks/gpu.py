"""Measure methods on a GPU beside the bounds of its memory and its arithmetic.

    python benchmarks/gpu.py

Rows: perturb with 500 draws on bank_42 (a sample network without ``FAIRFIX_DATA``), and prune, gda
and finetune on ResNet-18 with images of 224 x 224. Each line has the seconds of the second run, and
the seconds that the bytes and the operations of its passes take at the bandwidth and the rate that
the device reaches in this process, for a copy of 1 GiB and a product of two matrices in float32.

Bytes count weights, inputs and outputs of every layer once; a backward pass counts as two forward
passes. So both bounds are below the true least cost of the arithmetic, and neither counts searches.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from architectures import ResNet18
from benchmark_models import speed_model
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fairfix import methods
from fairfix.data.problem import Problem
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.models.scorer import Output, Scorer

OBJECTIVE = Objective(budget=0.05)
BACKWARD = 2
"""Passes forward that a pass backward counts as."""


def seconds(function: Callable[[], object], device: torch.device, runs: int = 1) -> float:
    """Return the shortest time of some runs after a first one."""
    times = []
    for _ in range(runs + 1):
        synchronize(device)
        start = time.perf_counter()
        function()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def bandwidth(device: torch.device, size: int) -> float:
    """Return the bytes a second that a copy reads and writes."""
    source = torch.empty(size // 4, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: target.copy_(source), device, 5)


def arithmetic(device: torch.device, side: int) -> float:
    """Return the float32 operations a second of a product of two square matrices."""
    one, other = torch.rand(2, side, side, device=device)
    return 2 * side**3 / seconds(lambda: one @ other, device, 5)


@torch.no_grad()
def pass_cost(scorer: Scorer, inputs: Inputs) -> tuple[float, float]:
    """Return the bytes and the operations of one pass forward over all rows."""
    sizes: list[int] = []

    def count(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        own = [p.nbytes for p in module.parameters()]
        sizes.append(sum(own) + sum(each.nbytes for each in given) + output.nbytes)

    leaves = [m for m in scorer.network.modules() if not list(m.children())]
    handles = [leaf.register_forward_hook(count) for leaf in leaves]
    with FlopCounterMode(display=False) as counter:
        scorer.score(inputs)
    for handle in handles:
        handle.remove()
    return float(sum(sizes)), float(counter.get_total_flops())


def images(count: int, side: int, width: int, device: torch.device) -> Problem:
    """Return ResNet-18 on random images, with groups and labels that follow its scores."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(count, 3, side, side, generator=generator)
    scorer = Scorer(ResNet18(width=width).eval(), Output.LOGIT).to(device)
    inputs = Inputs.of(pixels).to(device)
    scores = scorer.score(inputs)
    noise = torch.rand(2, count, generator=generator).to(device) - 0.5
    rank = scores.argsort().argsort() / count - 0.5
    labels, groups = ((rank + each) > 0 for each in noise)
    return Problem(scores, labels.long(), groups.long(), ("a", "b"), scorer, inputs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line for each method."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="cuda", help="cpu tries the program out")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage")
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--steps", type=int, default=64, help="of prune, gda and finetune")
    given = parser.parse_args(arguments)
    device = torch.device(given.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("No GPU is visible, so nothing was measured; run this where torch sees one.")
    small = device.type == "cpu"
    name = "CPU" if small else torch.cuda.get_device_name(device)
    bytes_a_second = bandwidth(device, 2**24 if small else 2**30)
    operations = arithmetic(device, 256 if small else 8192)
    print(f"{name}: {bytes_a_second / 1e9:.0f} GB/s, {operations / 1e12:.2f} TFLOP/s (float32)")
    table = speed_model().case().problem.to(device)
    pictures = images(given.images, given.side, given.width, device)
    steps, rows = given.steps, len(pictures)
    minibatch = max(2, min(256, rows // 2))
    epochs = -(-steps // -(-rows // minibatch))
    removals = {"max_units": steps, "per_step": 1}
    tuned = {"epochs": epochs, "minibatch": minibatch}
    # Passes forward over all rows, with those backward, of each run.
    runs: list[tuple[str, Problem, dict[str, int], float]] = [
        ("perturb", table, {"trials": given.trials}, given.trials),
        ("prune", pictures, removals, steps * (2 + BACKWARD) + 1),
        ("gda", pictures, tuned, epochs * (2 + BACKWARD)),
        ("finetune", pictures, {"steps": steps}, finetune_passes(steps, rows)),
    ]
    for method, problem, options, passes in runs:
        assert problem.scorer is not None
        assert problem.inputs is not None
        moved, counted = pass_cost(problem.scorer, problem.inputs)
        spent = seconds(partial(methods.get(method).run, problem, OBJECTIVE, **options), device)
        print(
            f"{method}: {spent:.3f} s, bytes at least {passes * moved / bytes_a_second:.3f} s, "
            f"operations at least {passes * counted / operations:.3f} s ({len(problem)} rows)"
        )


def finetune_passes(steps: int, rows: int) -> float:
    """Return the passes over all rows of two runs: minibatches of 192 rows and the snapshots."""
    return 2 * (steps * 192 / rows * (1 + BACKWARD) + -(-steps // 40))


if __name__ == "__main__":
    main()
