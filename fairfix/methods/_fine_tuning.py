"""The fine-tuning loop: rounds of small steps, each judged as the network would be deployed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from fairfix._utils.progress import track
from fairfix.methods._search import Search
from fairfix.models.scorer import Scorer


def fine_tune(
    search: Search,
    scorer: Scorer,
    features: Tensor,
    *,
    task: str,
    rounds: int,
    one_round: Callable[[], None],
    done: Callable[[Tensor], bool] = lambda scores: False,
    train_mode: bool = False,
    seed: int = 0,
) -> None:
    """Run ``one_round`` again and again and offer the network after each to the search.

    Gradients are taken in evaluation mode (dropout off, BatchNorm frozen) unless ``train_mode``;
    every candidate is judged in evaluation mode. Ends after ``rounds``, when ``done`` says so of
    the scores (N,), or when they are no longer finite. Dropout draws from a stream of its own.
    """
    with _own_randomness(seed, features.device):
        for _ in track(range(rounds), task):
            scorer.train(train_mode)
            one_round()
            scores = scorer.score(features)
            if not scores.isfinite().all():
                break
            search.offer(scores, scorer.weights)
            if done(scores):
                break
    scorer.eval()


def descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> bool:
    """One step down the loss; none, and False, where it is not finite."""
    if not loss.isfinite():
        return False
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return True


@contextmanager
def _own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from a stream of its own; the global one is left as it was found."""
    cuda = device.type == "cuda"
    with torch.random.fork_rng([device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.default_generators[device.index].manual_seed(seed)
        yield
