"""An exported graph as a network of torch layers, which hooks, gradients and searches understand.

``torch.export`` and TorchScript keep operations instead of layers, and hooks on what they give
back do not fire. Here every operation becomes a module: a Linear, a convolution or a normalisation
a layer of torch under the name that its tensors have in the file, anything else an activation or
an ``Operation``. The state_dict has the stored keys.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from fairfix.errors import CheckpointError

_CONVOLUTIONS = {"conv1d": nn.Conv1d, "conv2d": nn.Conv2d, "conv3d": nn.Conv3d}
_BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
_RANDOM_WHEN = {"dropout": "train", "batch_norm": "training"}
_ROLES = ("weight", "bias", "running_mean", "running_var")
_COUNTER = "num_batches_tracked"


class Operation(nn.Module):
    """One operation of the graph that is no layer of its own."""

    def __init__(self, target: Callable[..., Any]) -> None:
        super().__init__()
        self.target = target

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Whatever the operation takes and gives."""
        return self.target(*args, **kwargs)

    def extra_repr(self) -> str:
        """The operation's name, for people."""
        return str(self.target)


def as_layers(
    program: ExportedProgram, state: Mapping[str, Tensor], parameters: Collection[str], path: object
) -> nn.Module:
    """The network that ``program`` computes, its state_dict with the keys and values of ``state``.

    ``parameters`` are the names in ``state`` that were trained; the others are buffers.
    Raises CheckpointError for a program of several inputs or exported in training mode.
    """
    exported = program.module(check_guards=False)
    inputs = [node.name for node in exported.graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise CheckpointError(
            f"{path} takes {len(inputs)} inputs ({', '.join(inputs)}); only a network of one input "
            "can be changed."
        )
    held = _held(state, parameters)
    pieces = _take_apart(exported, held, path)
    network = fx.GraphModule(pieces, exported.graph, "ExportedNetwork")
    present = network.state_dict().keys()
    for name in present - held.keys():  # constants of the code, which the file's weights are not
        owner, _, leaf = name.rpartition(".")
        network.get_submodule(owner)._non_persistent_buffers_set.add(leaf)
    for name in held.keys() - present:
        _insert(network, name, held[name])
    return network


def check_behaviour(
    module: nn.Module, original: Callable[[Tensor], Any], example: Tensor, path: object
) -> None:
    """Raise CheckpointError unless ``module`` computes what ``original`` does on ``example``.

    It must also give the same twice, and give each row what it gives it in a batch of other size.
    """
    tolerance = 1e-4 if example.dtype == torch.float32 else 5e-2
    rows = example[:1].expand(3, *example.shape[1:])
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        output, again = _first(module(example.float())), _first(module(example.float()))
        if not torch.equal(output, again):
            raise CheckpointError(training_mode(path))
        if not torch.allclose(output, _first(original(example)).float(), tolerance, tolerance):
            raise CheckpointError(f"{path} computes something else once it is taken apart.")
        try:
            fits = torch.allclose(_first(module(rows.float()))[:1], output[:1], 1e-3, 1e-3)
        except RuntimeError:
            fits = False
    if not fits:
        raise CheckpointError(
            f"{path} was exported for batches of exactly {len(example)} rows. Export it again with "
            "a dynamic first dimension (dynamic_shapes)."
        )


def training_mode(path: object) -> str:
    """The sentence for a network whose dropout or BatchNorm is on for good."""
    return (
        f"{path} was exported in training mode: its dropout or BatchNorm never rests. Export it "
        "again after model.eval()."
    )


def _first(output: Any) -> Tensor:
    return next(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))


def _held(state: Mapping[str, Tensor], parameters: Collection[str]) -> dict[str, Tensor]:
    """The tensors as a module holds them; tied ones stay one parameter."""
    made: dict[int, nn.Parameter] = {}
    held = dict(state)
    for name in parameters:
        tensor = state[name].detach()
        held[name] = made.setdefault(
            tensor.data_ptr() or id(tensor), nn.Parameter(tensor, tensor.is_floating_point())
        )
    return held


def _take_apart(
    exported: fx.GraphModule, held: Mapping[str, Tensor], path: object
) -> dict[str, Any]:
    """Make the graph of ``exported`` call modules, and return what it refers to, by name."""
    graph = exported.graph
    home = "operations"
    while any(name.split(".")[0] == home for name in held):
        home += "_"
    pieces: dict[str, Any] = {}
    for node in list(graph.nodes):
        if node.op == "call_module":  # a guard on the input's shape
            graph.erase_node(node)
        elif isinstance(node.target, torch._ops.OpOverload):
            arguments = _arguments(node)
            if arguments.get(_RANDOM_WHEN.get(_kind(node), "")):
                raise CheckpointError(training_mode(path))
            if isinstance(node.meta.get("val"), Tensor):
                _replace(node, arguments, held, pieces, home)
    for node in list(graph.nodes):
        if node.op == "get_attr" and node.users:
            pieces[node.target] = held.get(node.target, _attribute(exported, node.target))
        elif node.op == "get_attr":
            graph.erase_node(node)
    return pieces


def _replace(
    node: fx.Node,
    arguments: Mapping[str, Any],
    held: Mapping[str, Tensor],
    pieces: dict[str, Any],
    home: str,
) -> None:
    """Replace an operation by the call of a module, which is put into ``pieces``."""
    owner = _owner(arguments, held)
    layer = _layer(node, arguments, held, owner) if owner else None
    if layer is not None and repr(layer) == repr(pieces.get(owner, layer)):
        name, module = owner, pieces.get(owner, layer)
        args, kwargs = (arguments["input"],), {}
    else:
        name, module = f"{home}.{node.name}", _activation(node) or Operation(node.target)
        args, kwargs = node.args, node.kwargs
    pieces[name] = module
    with node.graph.inserting_before(node):
        call = node.graph.call_module(name, args, kwargs)
    call.meta = node.meta
    node.replace_all_uses_with(call)
    node.graph.erase_node(node)


def _kind(node: fx.Node) -> str:
    return str(node.target).split(".")[1]  # aten.linear.default


def _arguments(node: fx.Node) -> dict[str, Any]:
    """The arguments of an operation by name, defaults filled in."""
    assert isinstance(node.target, torch._ops.OpOverload)
    names = node.target._schema.arguments
    given = dict(zip((argument.name for argument in names), node.args, strict=False))
    return {a.name: a.default_value for a in names} | given | node.kwargs


def _owner(arguments: Mapping[str, Any], held: Mapping[str, Tensor]) -> str:
    """The module whose tensors, all of them and no others, an operation uses; else empty."""
    used = {
        role: str(arguments[role].target)
        for role in _ROLES
        if isinstance(arguments.get(role), fx.Node) and arguments[role].op == "get_attr"
    }
    owner = next(iter(used.values()), "").rpartition(".")[0]
    there = {name for name in held if name.startswith(f"{owner}.")}
    exactly = {f"{owner}.{role}" for role in used}
    return owner if exactly == set(used.values()) == there - {f"{owner}.{_COUNTER}"} else ""


def _layer(
    node: fx.Node, arguments: Mapping[str, Any], held: Mapping[str, Tensor], owner: str
) -> nn.Module | None:
    """The layer of torch that does what the operation does, with its tensors."""
    with torch.device("meta"):  # nothing is drawn or filled: the tensors are put in below
        layer = _empty_layer(node, arguments, held, owner)
    if layer is None:
        return None
    for role in (*_ROLES, _COUNTER):
        if hasattr(layer, role):
            setattr(layer, role, held.get(f"{owner}.{role}"))
    return layer


def _empty_layer(
    node: fx.Node, arguments: Mapping[str, Any], held: Mapping[str, Tensor], owner: str
) -> nn.Module | None:
    kind, weight = _kind(node), held.get(f"{owner}.weight")
    biased = f"{owner}.bias" in held
    if kind == "linear" and weight is not None:
        return nn.Linear(weight.shape[1], weight.shape[0], bias=biased)
    if (
        str(node.target) in (f"aten.{name}.default" for name in _CONVOLUTIONS)
        and weight is not None
    ):
        groups = arguments["groups"]
        return _CONVOLUTIONS[kind](
            weight.shape[1] * groups,
            weight.shape[0],
            tuple(weight.shape[2:]),
            stride=tuple(arguments["stride"]),
            padding=tuple(arguments["padding"]),
            dilation=tuple(arguments["dilation"]),
            groups=groups,
            bias=biased,
        )
    if kind == "batch_norm" and f"{owner}.running_mean" in held:
        return _BATCH_NORMS[node.meta["val"].ndim](
            held[f"{owner}.running_mean"].shape[0],
            eps=arguments["eps"],
            momentum=arguments["momentum"],
            affine=weight is not None,
        )
    if kind == "layer_norm" and weight is not None:
        return nn.LayerNorm(arguments["normalized_shape"], eps=arguments["eps"], bias=biased)
    return None


def _activation(node: fx.Node) -> nn.Module | None:
    """The activation layer; one that works in place stays so where its input is used again."""
    kind = _kind(node)
    made = _ACTIVATIONS.get(kind.removesuffix("_"))
    (source,) = node.all_input_nodes[:1] or (node,)
    if made is None or (kind.endswith("_") and len(source.users) > 1):
        return None
    return made()


def _attribute(root: nn.Module, name: str) -> Any:
    owner, _, leaf = name.rpartition(".")
    return getattr(root.get_submodule(owner), leaf)


def _insert(root: nn.Module, name: str, tensor: Tensor) -> None:
    *folders, leaf = name.split(".")
    for folder in folders:
        if not hasattr(root, folder):
            root.add_module(folder, nn.Module())
        root = root.get_submodule(folder)
    if isinstance(tensor, nn.Parameter):
        root.register_parameter(leaf, tensor)
    else:
        root.register_buffer(leaf, tensor)
