"""Convert an exported graph to a network of torch layers.

``torch.export`` and TorchScript have operations instead of layers, so hooks and function modes do
not see layers. Here every operation becomes a module: linear layers, convolutions and
normalizations become layers of torch, under the names that their tensors have in the file; others
become activations or an ``Operation``. The ``state_dict`` has the stored keys.
"""

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from fairfix._utils.text import error_summary
from fairfix.errors import CheckpointError, FairfixError

_CONVOLUTIONS: dict[int, Callable[..., nn.Module]] = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
_BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
_TRAINING_ARGUMENT = {"dropout": "train", "batch_norm": "training"}
_TENSORS = ("weight", "bias", "running_mean", "running_var")
_COUNTER = "num_batches_tracked"


class Operation(nn.Module):
    """An operation of the graph that is not a layer."""

    def __init__(self, target: Callable[..., Any]) -> None:
        super().__init__()
        self.target = target

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the operation."""
        return self.target(*args, **kwargs)

    def extra_repr(self) -> str:
        """Return the name of the operation."""
        return str(self.target)


class ExportedNetwork(fx.GraphModule):
    """A graph of modules; a copy has all of its tensors, also those that the graph does not use."""

    def __deepcopy__(self, memo: dict[int, Any]) -> fx.GraphModule:
        network = ExportedNetwork(self, copy.deepcopy(self.graph), "ExportedNetwork")
        for place in ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set"):
            setattr(network, place, copy.deepcopy(self.__dict__[place], memo))
        return network.train(self.training)


def module_from_graph(
    program: ExportedProgram, state: Mapping[str, Tensor], parameters: Collection[str], path: object
) -> nn.Module:
    """Convert an exported program to a module.

    Args:
        program: the program.
        state: tensors of the network, which become its ``state_dict``.
        parameters: names in ``state`` of parameters; the others are buffers.
        path: the file, for messages.

    Raises:
        CheckpointError: if the program was exported in training mode.
    """
    exported = program.module(check_guards=False)
    tensors = _module_tensors(state, parameters)
    graph = _without_owner(exported.graph)
    root = _replace_operations(graph, exported, tensors, path)
    network = ExportedNetwork(root, graph, "ExportedNetwork")
    present = network.state_dict().keys()
    for name in present - tensors.keys():  # constants of the code, which are not stored
        owner, _, leaf = name.rpartition(".")
        network.get_submodule(owner)._non_persistent_buffers_set.add(leaf)
    for name in tensors:
        if name not in present:
            _insert(network, name, tensors[name])
    return network


@contextmanager
def conversion_errors(path: object) -> Iterator[None]:
    """Convert any exception inside the ``with`` block to a CheckpointError."""
    try:
        yield
    except FairfixError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be converted to layers ({error_summary(error)}). Name the network's "
            "class with --arch file.py:Class."
        ) from error


def check_same_outputs(
    module: nn.Module, original: Callable[..., Any], example: Sequence[Tensor], path: object
) -> None:
    """Check that a converted module computes what the original does.

    Args:
        example: the inputs for some rows.

    Raises:
        CheckpointError: if outputs on ``example`` differ, change when repeated, or depend on the
            size of the batch.
    """
    exact = all(each.dtype in (torch.float32, torch.int64) for each in example)
    tolerance = 1e-4 if exact else 5e-2
    single = [each.float() if each.is_floating_point() else each for each in example]
    larger = [each[:1].expand(len(each) + 1, *each.shape[1:]) for each in single]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        output, again = _first(module(*single)), _first(module(*single))
        if not _close(output, again, 0):
            raise CheckpointError(_training_mode_message(path))
        if not _close(output, _first(original(*example)).float(), tolerance):
            raise CheckpointError(
                f"{path} computes other outputs when converted to layers. Name the network's class "
                "with --arch file.py:Class."
            )
        try:
            fits = _close(_first(module(*larger))[:1], output[:1], 1e-3)
        except RuntimeError:
            fits = False
    if not fits:
        raise CheckpointError(
            f"{path} was exported for batches of exactly {len(example[0])} rows. Export it again "
            "with a dynamic first dimension (dynamic_shapes)."
        )


def width_of(example: Sequence[Tensor]) -> int | None:
    """Return the number of values a row of one matrix; None of other inputs."""
    return example[0].shape[1] if len(example) == 1 and example[0].ndim == 2 else None


def _training_mode_message(path: object) -> str:
    return (
        f"{path} was exported in training mode, so its dropout or BatchNorm is always active. "
        "Export it again after model.eval()."
    )


def _close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True)


def _first(output: Any) -> Tensor:
    return next(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))


def _module_tensors(state: Mapping[str, Tensor], parameters: Collection[str]) -> dict[str, Tensor]:
    """Return parameters and buffers by name; tied tensors become one parameter."""
    created: dict[tuple[int, torch.Size], nn.Parameter] = {}
    tensors = dict(state)
    for name in parameters:
        tensor = state[name].detach()
        parameter = nn.Parameter(tensor, tensor.is_floating_point())
        tensors[name] = created.setdefault((tensor.data_ptr(), tensor.shape), parameter)
    return tensors


def _without_owner(owned: fx.Graph) -> fx.Graph:
    """Return a copy without an owning module, which may call modules that do not exist yet.

    A single output is returned without the tuple or list around it.
    """
    graph = fx.Graph()
    output = graph.graph_copy(owned, {})
    if isinstance(output, tuple | list) and len(output) == 1:
        graph.output(output[0])
    else:
        graph.output(output)
        graph.set_codegen(owned._codegen)
    return graph


def _replace_operations(
    graph: fx.Graph, exported: nn.Module, tensors: Mapping[str, Tensor], path: object
) -> nn.Module:
    """Make the graph call modules instead of operations.

    Args:
        graph: changed in place.
        exported: the module of the program, for constants.
        tensors: parameters and buffers by name.
        path: the file, for messages.

    Returns:
        A module with the called modules, in order of computation, and the other tensors.
    """
    folder = "operations"
    while any(name.split(".")[0] == folder for name in tensors):
        folder += "_"
    parts: dict[str, Any] = {}
    for node in list(graph.nodes):
        if node.op == "call_module":  # a guard on the input's shape
            graph.erase_node(node)
        elif isinstance(node.target, torch._ops.OpOverload):
            arguments = _arguments(node)
            if arguments.get(_TRAINING_ARGUMENT.get(_kind(node), "")):
                raise CheckpointError(_training_mode_message(path))
            if isinstance(node.meta.get("val"), Tensor):
                _replace(node, arguments, tensors, parts, folder)
    stored = {_place(tensor): name for name, tensor in tensors.items()}
    for node in list(graph.nodes):
        if node.op == "get_attr" and node.users:
            target = str(node.target)
            value = tensors.get(target)
            if value is None:  # a constant of the code, or a weight that was taken for one
                value = _attribute(exported, target)
                node.target = target = stored.get(_place(value), target)
            parts[target] = tensors.get(target, value)
        elif node.op == "get_attr":
            graph.erase_node(node)
    root = nn.Module()
    for name, part in parts.items():
        _insert(root, name, part)
    return root


def _replace(
    node: fx.Node,
    arguments: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    parts: dict[str, Any],
    folder: str,
) -> None:
    """Replace an operation by a call of a module, which is added to ``parts``."""
    args: tuple[Any, ...]
    owner = _owner(arguments, tensors)
    layer = _layer(node, arguments, tensors, owner) if owner else None
    if layer is not None and repr(layer) == repr(parts.get(owner, layer)):
        name, module = owner, parts.get(owner, layer)
        args, kwargs = (arguments["input"],), {}
    else:
        taken = hasattr(nn.Module, node.name)  # as .to and .float, which the graph would call
        name = f"{folder}.{node.name}{'_operation' if taken else ''}"
        module = _activation(node) or Operation(cast("Callable[..., Any]", node.target))
        args, kwargs = node.args, node.kwargs
    parts[name] = module
    with node.graph.inserting_before(node):
        call = node.graph.call_module(name, args, kwargs)
    call.meta = node.meta
    node.replace_all_uses_with(call)
    node.graph.erase_node(node)


def _kind(node: fx.Node) -> str:
    return str(node.target).split(".")[1]  # aten.linear.default


def _arguments(node: fx.Node) -> dict[str, Any]:
    """Return the arguments of an operation by name, with defaults."""
    assert isinstance(node.target, torch._ops.OpOverload)
    names = node.target._schema.arguments
    given = dict(zip((argument.name for argument in names), node.args, strict=False))
    return {a.name: a.default_value for a in names} | given | node.kwargs


def _owner(arguments: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the name of the module whose tensors an operation uses, all and no others, or ""."""
    used = {
        name: str(arguments[name].target)
        for name in _TENSORS
        if isinstance(arguments.get(name), fx.Node) and arguments[name].op == "get_attr"
    }
    owner = next(iter(used.values()), "").rpartition(".")[0]
    there = {name for name in tensors if name.startswith(f"{owner}.")}
    exactly = {f"{owner}.{name}" for name in used}
    return owner if exactly == set(used.values()) == there - {f"{owner}.{_COUNTER}"} else ""


def _layer(
    node: fx.Node, arguments: Mapping[str, Any], tensors: Mapping[str, Tensor], owner: str
) -> nn.Module | None:
    """Return the torch layer for an operation, with its tensors, or None."""
    with torch.device("meta"):  # allocates nothing; the tensors are set below
        layer = _empty_layer(node, arguments, tensors, owner)
    if layer is None:
        return None
    for name in (*_TENSORS, _COUNTER):
        if hasattr(layer, name):
            setattr(layer, name, tensors.get(f"{owner}.{name}"))
    return layer


def _empty_layer(
    node: fx.Node, arguments: Mapping[str, Any], tensors: Mapping[str, Tensor], owner: str
) -> nn.Module | None:
    kind, weight = _kind(node), tensors.get(f"{owner}.weight")
    biased = f"{owner}.bias" in tensors
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
    if kind == "batch_norm" and f"{owner}.running_mean" in tensors:
        return _BATCH_NORMS[node.meta["val"].ndim](
            tensors[f"{owner}.running_mean"].shape[0],
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
        and str(node.target).endswith(".default")  # other overloads have padding as a string
        and not arguments.get("transposed")
    )


def _activation(node: fx.Node) -> nn.Module | None:
    """Return the activation layer; None without one, or if an in-place input is used again."""
    kind = _kind(node)
    activation = _ACTIVATIONS.get(kind.removesuffix("_"))
    (source,) = node.all_input_nodes[:1] or (node,)
    if activation is None or (kind.endswith("_") and len(source.users) > 1):
        return None
    return activation()


def _place(value: Any) -> object:
    """Return a key that tensors in the same memory share."""
    if not isinstance(value, Tensor) or value.numel() == 0:
        return id(value)
    return value.data_ptr(), value.shape, value.dtype


def _attribute(root: nn.Module, name: str) -> Any:
    owner, _, leaf = name.rpartition(".")
    return getattr(root.get_submodule(owner), leaf)


def _insert(root: nn.Module, name: str, part: nn.Module | Tensor) -> None:
    *folders, leaf = name.split(".")
    for folder in folders:
        if not hasattr(root, folder):
            root.add_module(folder, nn.Module())
        root = root.get_submodule(folder)
    if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
        root.register_buffer(leaf, part)
    else:
        setattr(root, leaf, part)
