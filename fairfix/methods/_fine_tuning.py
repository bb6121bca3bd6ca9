"""The fine-tuning loop: train for a round, then evaluate the network as a candidate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from fairfix._utils.progress import track
from fairfix.methods._search import CandidateSearch
from fairfix.models.inputs import Inputs
from fairfix.models.scorer import Scorer


def fine_tune(
    search: CandidateSearch,
    scorer: Scorer,
    inputs: Inputs,
    *,
    task: str,
    rounds: int,
    train_round: Callable[[], None],
    should_stop: Callable[[Tensor], bool] = lambda scores: False,
    train_mode: bool = False,
    seed: int = 0,
) -> None:
    """Run ``train_round`` up to ``rounds`` times and add the network after each to the search.

    Ends early when scores are no longer finite. Candidates are evaluated in evaluation mode.

    Args:
        search: the candidates so far.
        scorer: the network, changed in place.
        inputs: of the rows that candidates are evaluated on.
        task: name shown with the progress.
        rounds: at most.
        train_round: changes the network.
        should_stop: gets the scores (N,) after a round; True ends the run.
        train_mode: whether rounds run in training mode. Else dropout is off and BatchNorm frozen.
        seed: seed of dropout; the global random state is left as it was.
    """
    with private_random_state(seed, inputs.device):
        for _ in track(range(rounds), task):
            scorer.train(train_mode)
            train_round()
            scores = scorer.score(inputs)
            if not scores.isfinite().all():
                break
            search.add(scores, scorer.weights)
            if should_stop(scores):
                break
    scorer.eval()


def descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> bool:
    """Take one step down the loss; take none and return False if the loss is not finite."""
    if not loss.isfinite():
        return False
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return True


@contextmanager
def private_random_state(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from a seeded random state; restore the global one at the end."""
    cuda = device.type == "cuda"
    with torch.random.fork_rng([device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.default_generators[device.index].manual_seed(seed)
        yield
