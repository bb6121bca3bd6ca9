"""An exported graph as a network of torch layers, which hooks, gradients and searches understand.

``torch.export`` and TorchScript keep operations instead of layers, and hooks on what they give
back do not fire. Here every operation becomes a module: a Linear, a convolution or a normalization
a layer of torch under the name that its tensors have in the file, anything else an activation or
an ``Operation``. The state_dict has the stored keys.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from fairfix.errors import CheckpointError, FairfixError
from fairfix.models.checkpoint.base import reason

_CONVOLUTIONS: dict[int, Callable[..., nn.Module]] = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
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
    graph = _unowned(exported.graph)
    root = _take_apart(graph, exported, held, path)
    network = fx.GraphModule(root, graph, "ExportedNetwork")
    present = network.state_dict().keys()
    for name in present - held.keys():  # constants of the code, which no weights are stored for
        owner, _, leaf = name.rpartition(".")
        network.get_submodule(owner)._non_persistent_buffers_set.add(leaf)
    for name in held:
        if name not in present:
            _insert(network, name, held[name])
    return network


@contextmanager
def taking_apart(path: object) -> Iterator[None]:
    """Turn whatever fails on a network of foreign code into a CheckpointError."""
    try:
        yield
    except FairfixError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be taken apart ({reason(error)}). Name the network's class with --arch."
        ) from error


def check_behavior(
    module: nn.Module, original: Callable[[Tensor], Any], example: Tensor, path: object
) -> None:
    """Raise CheckpointError unless ``module`` computes what ``original`` does on ``example``.

    It must also give the same twice, and give each row what it gives it in a batch of other size.
    """
    tolerance = 1e-4 if example.dtype in (torch.float32, torch.int64) else 5e-2
    single = example.float() if example.is_floating_point() else example
    more = single[:1].expand(len(single) + 1, *single.shape[1:])
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        output, again = _first(module(single)), _first(module(single))
        if not _close(output, again, 0):
            raise CheckpointError(training_mode(path))
        if not _close(output, _first(original(example)).float(), tolerance):
            raise CheckpointError(f"{path} computes something else once it is taken apart.")
        try:
            fits = _close(_first(module(more))[:1], output[:1], 1e-3)
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


def _close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True)


def _first(output: Any) -> Tensor:
    return next(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))


def _held(state: Mapping[str, Tensor], parameters: Collection[str]) -> dict[str, Tensor]:
    """The tensors as a module holds them; tied ones stay one parameter."""
    made: dict[tuple[int, torch.Size], nn.Parameter] = {}
    held = dict(state)
    for name in parameters:
        tensor = state[name].detach()
        one = nn.Parameter(tensor, tensor.is_floating_point())
        held[name] = made.setdefault((tensor.data_ptr(), tensor.shape), one)
    return held


def _unowned(owned: fx.Graph) -> fx.Graph:
    """A copy that no module owns, which alone may call modules that are not there yet.

    A single output is given as it is, without the tuple or dictionary around it.
    """
    graph = fx.Graph()
    output = graph.graph_copy(owned, {})
    if isinstance(output, tuple | list) and len(output) == 1:
        graph.output(output[0])
    else:
        graph.output(output)
        graph.set_codegen(owned._codegen)
    return graph


def _take_apart(
    graph: fx.Graph, exported: nn.Module, held: Mapping[str, Tensor], path: object
) -> nn.Module:
    """Make the graph call modules, and return those, in order of computation.

    What else it refers to is taken from ``held`` and ``exported``.
    """
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
    root = nn.Module()
    for name, piece in pieces.items():
        _insert(root, name, piece)
    return root


def _replace(
    node: fx.Node,
    arguments: Mapping[str, Any],
    held: Mapping[str, Tensor],
    pieces: dict[str, Any],
    home: str,
) -> None:
    """Replace an operation by the call of a module, which is put into ``pieces``."""
    args: tuple[Any, ...]
    owner = _owner(arguments, held)
    layer = _layer(node, arguments, held, owner) if owner else None
    if layer is not None and repr(layer) == repr(pieces.get(owner, layer)):
        name, module = owner, pieces.get(owner, layer)
        args, kwargs = (arguments["input"],), {}
    else:
        name = f"{home}.{node.name}"
        module = _activation(node) or Operation(cast("Callable[..., Any]", node.target))
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
    if _is_convolution(node, arguments) and weight is not None:
        groups = arguments["groups"]
        return _CONVOLUTIONS[weight.ndim](
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


def _is_convolution(node: fx.Node, arguments: Mapping[str, Any]) -> bool:
    return (
        _kind(node).lstrip("_") in ("conv1d", "conv2d", "conv3d", "convolution")
        and str(node.target).endswith(".default")  # the other form has its padding in words
        and not arguments.get("transposed")
    )


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


def _insert(root: nn.Module, name: str, piece: nn.Module | Tensor) -> None:
    *folders, leaf = name.split(".")
    for folder in folders:
        if not hasattr(root, folder):
            root.add_module(folder, nn.Module())
        root = root.get_submodule(folder)
    if isinstance(piece, Tensor) and not isinstance(piece, nn.Parameter):
        root.register_buffer(leaf, piece)
    else:
        setattr(root, leaf, piece)
