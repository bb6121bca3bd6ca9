"""A pruned unit has no effect on the scores, in networks of many architectures."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from fairfix.errors import CheckpointError
from fairfix.models.prunable_units import find_prunable_layers, trace_prunable_layers
from fairfix.models.scorer import Output, Scorer
from fairfix.models.unit_sources import PrunableLayer
from tests.helpers import zoo
from tests.helpers.zoo import FORMS, ZOO

FEATURES = zoo.features(25)
INPUTS = "(inputs)"

every_form = pytest.mark.parametrize(
    ("name", "form"), [pytest.param(*form, id=", ".join(form)) for form in FORMS]
)


def layers_of(scorer: Scorer, *, inputs: bool = False) -> list[PrunableLayer]:
    return find_prunable_layers(scorer, FEATURES[:2], inputs=inputs)


def parameters_of(scorer: Scorer) -> dict[str, Tensor]:
    return dict(scorer.named_parameters())


def shake(scorer: Scorer, layer: PrunableLayer, unit: int) -> None:
    """Replace all that makes the unit, as far as it was not cleared."""
    generator = torch.Generator().manual_seed(unit)
    cleared = {slot.name for slot in layer.parameters if slot.dim == 0}
    for name, parameter in scorer.named_parameters():
        if name.rpartition(".")[0] == layer.name and name not in cleared:
            with torch.no_grad():
                parameter[unit] = 10 * torch.randn(parameter[unit].shape, generator=generator)


@every_form
def test_the_layers_that_have_removable_units(name: str, form: str) -> None:
    scorer = zoo.scorer(name, form)
    layers = layers_of(scorer)
    assert tuple(layer.name.removeprefix("network.") for layer in layers) == ZOO[name].prunable
    parameters = parameters_of(scorer)
    assert [layer.units for layer in layers] == [
        len(parameters[f"{layer.name}.weight"]) for layer in layers
    ]


@every_form
def test_a_cleared_unit_has_no_say(name: str, form: str) -> None:
    """Whatever makes the unit is replaced, and the scores stay the same to the last bit."""
    layers = layers_of(zoo.scorer(name, form))
    for layer in layers:
        mattered = []
        for unit in range(layer.units):
            scorer = zoo.scorer(name, form)
            before = scorer.score(FEATURES)
            layer.prune(parameters_of(scorer), unit)
            cleared = scorer.score(FEATURES)
            shake(scorer, layer, unit)
            assert torch.equal(scorer.score(FEATURES), cleared)
            mattered.append(not torch.equal(before, cleared))
        assert any(mattered)


@pytest.mark.parametrize("name", ZOO)
def test_shaking_a_unit_that_is_still_there_shows(name: str) -> None:
    """The test above can fail: unless the layer's own weights go, scores follow them."""
    for layer in layers_of(zoo.scorer(name)):
        scorer = zoo.scorer(name)
        before = scorer.score(FEATURES)
        empty = PrunableLayer(layer.name, layer.units, ())
        for unit in range(layer.units):
            shake(scorer, empty, unit)
        assert not torch.equal(scorer.score(FEATURES), before)


@every_form
def test_the_units_of_a_layer_divide_its_slots_and_leave_the_rest_alone(
    name: str, form: str
) -> None:
    for layer in layers_of(zoo.scorer(name, form)):
        scorer = zoo.scorer(name, form)
        before = {k: v.clone() for k, v in scorer.state_dict().items()}
        for parameter in scorer.parameters():
            nn.init.ones_(parameter)
        parameters = parameters_of(scorer)
        slots = {slot.name for slot in layer.parameters}
        for unit in range(layer.units):
            left = {k: int(p.count_nonzero()) for k, p in parameters.items()}
            layer.prune(parameters, unit)
            for key, parameter in parameters.items():
                cleared = parameter.numel() // layer.units if key in slots else 0
                assert left[key] - int(parameter.count_nonzero()) == cleared
        assert not any(bool(parameters[key].any()) for key in slots)
        buffers = dict(scorer.named_buffers())
        assert all(torch.equal(before[key], value) for key, value in buffers.items())


@pytest.mark.parametrize(("name", "form"), FORMS[len(ZOO) :])
def test_an_exported_network_has_the_same_units(name: str, form: str) -> None:
    assert layers_of(zoo.scorer(name, form)) == layers_of(zoo.scorer(name))


@pytest.mark.parametrize("name", ZOO)
def test_inputs_are_units_only_when_asked_for(name: str) -> None:
    """A cleared input may take any value; where something else reads the inputs, none is listed."""
    hidden, layers = layers_of(zoo.scorer(name)), layers_of(zoo.scorer(name), inputs=True)
    assert [layer for layer in layers if layer.name != INPUTS] == hidden
    if len(layers) == len(hidden):
        return
    for unit in range(zoo.WIDTH):
        scorer = zoo.scorer(name)
        layers[0].prune(parameters_of(scorer), unit)
        shifted = FEATURES.clone()
        shifted[:, unit] = 100.0
        assert torch.equal(scorer.score(shifted), scorer.score(FEATURES))


def test_which_networks_list_their_inputs() -> None:
    listed = {n for n in ZOO if layers_of(zoo.scorer(n), inputs=True)[0].name == INPUTS}
    images = {"conv1d", "conv2d", "depthwise"}
    sums = {name for name in ZOO if "sum" in name or name == "one BatchNorm for two layers"}
    assert listed == ZOO.keys() - images - sums - {"written elsewhere"}


@pytest.mark.parametrize(
    "network",
    [
        nn.Linear(zoo.WIDTH, 1),
        nn.Sequential(nn.BatchNorm1d(zoo.WIDTH), nn.Linear(zoo.WIDTH, 1), nn.Sigmoid()),
        nn.Sequential(nn.Linear(zoo.WIDTH, 6), nn.Sigmoid(), nn.Softmax(1), nn.Linear(6, 1)),
        nn.Sequential(nn.Linear(zoo.WIDTH, 2), nn.Softmax(1)),
    ],
)
def test_a_network_without_removable_units_is_refused(network: nn.Module) -> None:
    with pytest.raises(CheckpointError, match="no hidden units that can be pruned"):
        layers_of(Scorer(network.eval(), Output.LOGIT))


@pytest.mark.parametrize("name", ZOO)
def test_watching_changes_nothing(name: str) -> None:
    scorer = zoo.scorer(name)
    state = scorer.weights()
    with torch.no_grad():
        output, _ = trace_prunable_layers(scorer, FEATURES)
    assert torch.equal(output, scorer.score(FEATURES))
    assert all(torch.equal(state[k], v) for k, v in scorer.weights().items())


@pytest.mark.parametrize("name", ZOO)
def test_activations_are_what_is_read_of_the_units_each_once(name: str) -> None:
    _, layers = trace_prunable_layers(zoo.scorer(name), FEATURES)
    for layer in layers:
        assert layer.activations
        for a in layer.activations:
            assert a.tensor.shape[a.dim] == layer.units * a.block
        assert len({id(a.tensor) for a in layer.activations}) == len(layer.activations)


def test_one_row_is_enough_to_find_the_units() -> None:
    for name in ZOO:
        scorer = zoo.scorer(name)
        assert find_prunable_layers(scorer, FEATURES[:1]) == layers_of(scorer)


# Weights that are computed from other parameters.


def _computed(make: Callable[[nn.Linear], nn.Module]) -> nn.Sequential:
    """Two hidden layers with computed weights, and a plain output layer."""
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        layers = make(nn.Linear(zoo.WIDTH, 6)), make(nn.Linear(6, 6)), nn.Linear(6, 1)
        network = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.Tanh(), layers[2]).eval()
    return network.requires_grad_()


def _old_weight_norm(layer: nn.Linear) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated
        normed: nn.Module = nn.utils.weight_norm(layer)
    return normed


COMPUTED: dict[str, tuple[Callable[[nn.Linear], nn.Module], tuple[str, ...]]] = {
    "weight_norm": (parametrizations.weight_norm, ("0", "2")),
    "weight_norm as a hook": (_old_weight_norm, ("0", "2")),
    "spectral_norm": (parametrizations.spectral_norm, ("2",)),
    "spectral_norm as a hook": (nn.utils.spectral_norm, ("2",)),
    "orthogonal": (parametrizations.orthogonal, ("2",)),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_computed_weights_are_pruned_by_the_parameters_behind_them(name: str) -> None:
    """The scores are those of the network whose unit is 0 after its activation."""
    make, prunable = COMPUTED[name]
    scorer = Scorer(_computed(make), Output.LOGIT)
    scorer.score(FEATURES[:2])
    layers = layers_of(scorer)
    assert tuple(layer.name.removeprefix("network.") for layer in layers) == prunable
    for layer in layers:
        for unit in range(layer.units):
            network = _computed(make)
            activation = network[int(layer.name.removeprefix("network.")) + 1]
            hook = activation.register_forward_hook(
                lambda module, given, out, unit=unit: out.index_fill(1, torch.tensor(unit), 0)
            )
            cleared = Scorer(network, Output.LOGIT)
            expected = cleared.score(FEATURES)
            hook.remove()
            assert not torch.allclose(cleared.score(FEATURES), expected)
            layer.prune(parameters_of(cleared), unit)
            assert torch.allclose(cleared.score(FEATURES), expected, atol=1e-6)


def test_computed_weights_that_cannot_be_pruned_are_named() -> None:
    network = nn.Sequential(
        parametrizations.spectral_norm(nn.Linear(zoo.WIDTH, 6)),
        nn.ReLU(),
        parametrizations.spectral_norm(nn.Linear(6, 1)),
    ).eval()
    with pytest.raises(CheckpointError, match=r"\('network.0'\) are computed by spectral_norm, so"):
        layers_of(Scorer(network, Output.LOGIT))


def test_the_layer_before_tied_weights_is_pruned_by_its_own() -> None:
    network = zoo.mlp(nn.ReLU)
    network.insert(4, nn.Linear(zoo.H, zoo.H))
    network[4].weight = network[2].weight
    layers = layers_of(Scorer(network.eval(), Output.LOGIT))
    assert [layer.name for layer in layers] == ["network.0"]
    assert {part.name for part in layers[0].parameters} == {"network.0.weight", "network.0.bias"}


def test_a_network_of_shared_layers_alone_is_refused_truly() -> None:
    layer = nn.Linear(zoo.WIDTH, zoo.WIDTH)
    network = nn.Sequential(layer, nn.Sigmoid(), layer, nn.Sigmoid(), layer)
    with pytest.raises(CheckpointError, match="used more than once, or feed operations"):
        layers_of(Scorer(network.eval(), Output.LOGIT))
