"""How to read a file that one frame a step gets wrong as it stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ._file import Proto
from ._graph import Scope, label

FIX_AXIS = (
    "export it again with that axis free (torch.onnx.export's dynamic_axes, or dynamic_shapes with "
    "dynamo=True), or of size 1"
)

VALUE = "<value>"  # what a reader has to put there


def listed(names: Iterable[str]) -> str:
    """Return names as a list, in Python."""
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def paired(pairs: Mapping[str, object]) -> str:
    """Return what belongs to names as a mapping, in Python; each as `str` has it."""
    return "{" + ", ".join(f'"{name}": {one}' for name, one in pairs.items()) + "}"


def stands_in_front(name: str) -> str:
    """Return what is wrong with an input that is joined in front of the frames."""
    return (
        f"puts input {name!r} in front of the frames, once, and a step would put it in front of "
        f"each; where it never changes, give it: constants={paired({name: VALUE})}; where it is a "
        f"state, say which output becomes it: states={paired({name: '<output>'})}"
    )


def for_a_padding(scopes: Sequence[Scope], source: str) -> str:
    """Return how to cut behind the padding of a causal convolution, "" where it is none.

    source: the operator and the label of a node that works along a time axis.
    """
    for scope in scopes:
        for node in scope.nodes:
            if node.op_type == "Pad" and f"Pad {label(node)}" == source:
                return _behind(scope, node.output[0])
    return ""


def _behind(scope: Scope, name: str) -> str:
    for node in scope.nodes:
        if node.op_type != "Conv" or node.input[0] != name or len(node.input) < 2:
            continue
        weight, attributes = scope.tensors.get(node.input[1]), scope.attributes_of(node)
        strides = attributes.get("strides") or [1]
        if weight is None or len(weight.dims) != 3 or strides != [1] or _pads(attributes):
            continue
        channels = weight.dims[1] * int(attributes.get("group", 1))
        reach = (weight.dims[2] - 1) * (attributes.get("dilations") or [1])[0] + 1
        return (
            f". If it pads in front alone, as a causal convolution does, cut behind it: inputs="
            f'["{name}"], shapes={{"{name}": (1, {channels}, {reach})}}, '
            f'history={{"{name}": {reach - 1}}}; a step then takes one frame of {channels} values '
            "from there"
        )
    return ""


def _pads(attributes: dict[str, Proto]) -> bool:
    """Tell whether a convolution pads by itself."""
    return any(attributes.get("pads") or ()) or attributes.get("auto_pad", "NOTSET") not in (
        *("NOTSET", "VALID", ""),
    )
