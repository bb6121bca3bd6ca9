"""Measure what late layers cost when the tensors that they read are kept.

    python benchmarks/late_layers.py

Scores of 128 images of 64 x 64 by ResNet-18 with one thread: the seconds of the whole network as a
multiple of those of the layers that change, in one run, and the bytes that are kept of a row.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from architectures import ResNet18

from fairfix.models.inputs import Inputs
from fairfix.models.late_layers import late_layers
from fairfix.models.parameter_names import select_parameters
from fairfix.models.scorer import Output, Scorer

LIMITS = {"head": 20, "layer4.*": 4}


def seconds(function: Callable[[], object], runs: int) -> float:
    """Return the shortest CPU time of some runs."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line for each choice of layers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage")
    parser.add_argument("--images", type=int, default=128)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    scorer = Scorer(ResNet18(width=given.width).eval(), Output.LOGIT, batch_size=32)
    inputs = Inputs.of(torch.rand(given.images, 3, 64, 64))
    whole = seconds(lambda: scorer.score(inputs), 2)
    for layers, limit in LIMITS.items():
        changing = select_parameters(scorer.network, layers).values()
        late, kept = late_layers(scorer, inputs, changing)
        ratio = whole / seconds(partial(late.score, kept), 4)
        size = sum(x[0].nbytes for x in kept.batch(slice(1)).tensors)
        print(f"{layers}: whole network / late layers {ratio:.1f} (at least {limit}), {size} bytes")


if __name__ == "__main__":
    main()
