"""Training of base networks."""

from __future__ import annotations

import numpy as np

from fairfix.bench.training import Recipe, train


def random_rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(n, 4)).astype(np.float32)
    return features, (features[:, 0] + generator.normal(size=n) > 0).astype(np.int64)


def test_training_learns_and_leaves_the_random_state_alone() -> None:
    import torch

    torch.manual_seed(5)
    before = torch.get_rng_state()
    recipe = Recipe(depth=1, width=8, epochs=15, batch=32)
    one, two = (train(random_rows(600, 0), random_rows(200, 1), recipe, seed=3) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert set(one) > {"fc0.weight", "bn0.running_mean", "fcs.0.bias", "out.weight"}
    features, labels = random_rows(500, 2)
    from fairfix.bench.training import BaseNetwork

    network = BaseNetwork(4, recipe)
    network.load_state_dict(one)
    decided = network.eval()(torch.from_numpy(features)).squeeze(1) > 0.5
    assert (decided.numpy() == labels).mean() > 0.7


def test_the_best_epoch_is_kept_and_not_the_last() -> None:
    """With inverted labels on the validation rows, every step makes the loss worse."""
    import torch

    features, labels = random_rows(600, 0)
    recipe = Recipe(depth=1, width=8, epochs=12, patience=12, batch=32)
    inverted = train((features, labels), (features, 1 - labels), recipe, seed=0)
    normal = train((features, labels), (features, labels), recipe, seed=0)
    assert not torch.equal(inverted["out.weight"], normal["out.weight"])
    from fairfix.bench.training import BaseNetwork

    def loss(state: dict[str, torch.Tensor]) -> float:
        network = BaseNetwork(4, recipe)
        network.load_state_dict(state)
        logits = network.eval().logit(torch.from_numpy(features)).squeeze(1)
        target = torch.from_numpy(1 - labels).float()
        logits = logits.detach()
        return float(torch.nn.functional.binary_cross_entropy_with_logits(logits, target))

    assert loss(inverted) < loss(normal)
