"""How the layers of a Keras model are called: after what, with which mask, state and mode.

A layer's call stands in its `inbound_nodes`: lists of [layer, node, tensor, keywords] in Keras 2,
tensors with a `keras_history` in Keras 3. A Sequential has none: each layer gets what the one
before it puts out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..._shown import shown
from .._inventory import brief

# Layers that put out no mask, whatever mask they get.
STOPS = frozenset(
    {"Flatten", "Reshape", "Permute", "RepeatVector", "Lambda", "Embedding", "InputLayer"}
    | {"Conv1D", "Conv2D", "SeparableConv1D", "DepthwiseConv1D", "Conv1DTranspose"}
    | {"MaxPooling1D", "AveragePooling1D", "GlobalMaxPooling1D", "GlobalAveragePooling1D"}
    | {"Cropping1D", "ZeroPadding1D", "UpSampling1D", "TextVectorization"}
)
SKIPPED = "{}: Keras leaves such steps out, state and output stay; here every frame counts"
GIVEN_STATE = (
    "Keras starts it from a state that {} computes; that is left out: streams start from zeros"
)
INPUT_STATE = "Keras starts it from a state that is an input of the model; here it is state="
TRAINING = "Keras calls it with training=True, which drops values at random; here none is dropped"
HALF = "Keras computes it in {}; here it is computed in float32"
Reference = tuple[str, int]  # a layer, and which of its outputs


@dataclass(frozen=True)
class Call:
    """How a layer is called; in all its calls together, where it is shared.

    data: the tensors it gets, without masks.
    first: how many of these are first arguments: one for each call.
    masks: the layers that masks come from which were given by hand.
    training: whether it is called as in training.
    """

    data: tuple[Reference, ...] = ()
    first: int = 0
    masks: tuple[str, ...] = ()
    training: bool = False

    @property
    def states(self) -> list[str]:
        """The layers that the other tensors come from: for a recurrent layer its first state."""
        return [source for source, _ in self.data[1:]] if self.first == 1 else []


def references(value: Any) -> Iterator[Reference]:
    """Yield the tensors in a layer's inbound nodes, by the layer they come from and which it is."""
    waiting = [value]  # the next one at the end
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += reversed(one.values())
        elif isinstance(one, list):
            is_one = len(one) in (3, 4) and isinstance(one[0], str) and isinstance(one[2], int)
            if is_one:
                yield one[0], one[2]
            waiting += reversed(one[3:] if is_one else one)


def _keywords(node: Any) -> Iterator[dict[str, Any]]:
    """Yield the keyword arguments of a call."""
    waiting = [node]  # the next one at the end
    while waiting:
        one = waiting.pop()
        if isinstance(one, list) and len(one) == 4 and isinstance(one[0], str):
            if isinstance(one[3], dict):
                yield one[3]
        elif isinstance(one, list):
            waiting += reversed(one)
        elif isinstance(one, dict) and isinstance(one.get("kwargs"), dict):
            yield one["kwargs"]


def call_of(layer: Mapping[str, Any]) -> Call:
    """Return how a layer is called; nothing for one of a Sequential."""
    nodes = layer.get("inbound_nodes")
    data: list[Reference] = []
    masks: list[str] = []
    training = False
    nodes = nodes if isinstance(nodes, list) else []
    for node in nodes:
        keywords = list(_keywords(node))
        given = [one for each in keywords for one in references(each.get("mask"))]
        data += _without(list(references(node)), given)
        masks += [source for source, _ in given]
        training = training or any(each.get("training") is True for each in keywords)
    return Call(tuple(data), len(nodes), tuple(masks), training)


def _without(found: list[Reference], masks: list[Reference]) -> list[Reference]:
    """Return what a call gets without its masks: of each the last one, but never the first."""
    if not masks:
        return found
    places: dict[Reference, list[int]] = {}
    for place, one in enumerate(found[1:], 1):
        places.setdefault(one, []).append(place)
    left_out = {places[one].pop() for one in masks if places.get(one)}
    return [one for place, one in enumerate(found) if place not in left_out]


def mask_after(layer: Mapping[str, Any], mask: str | None) -> str | None:
    """Return in words what makes the mask that a layer puts out, if it gets this one."""
    kind = kind_of(layer)
    options = layer.get("config")
    options = options if isinstance(options, dict) else {}
    if kind == "Masking":
        value = brief(options.get("mask_value", 0.0), 20)
        return f"Masking {shown(name_of(layer))} before it masks steps whose values are all {value}"
    if kind == "Embedding" and options.get("mask_zero") is True:
        return f"Embedding {shown(name_of(layer))} before it masks token 0 (mask_zero)"
    if kind in STOPS:
        return None
    inner = options.get("layer") if kind == "Bidirectional" else layer
    inner_options = inner.get("config") if isinstance(inner, dict) else None
    if isinstance(inner_options, dict) and inner_options.get("return_sequences") is False:
        return None
    return mask


def kind_of(layer: Mapping[str, Any]) -> str:
    """Return a layer's class."""
    return brief(layer.get("class_name"))


def name_of(layer: Mapping[str, Any]) -> str:
    """Return a layer's name."""
    options = layer.get("config")
    name = options.get("name") if isinstance(options, dict) else None
    name = layer.get("name") if name is None else name
    return name if isinstance(name, str) else brief(name)


def assumptions(
    layer: Mapping[str, Any], mask: str | None, inputs: frozenset[str]
) -> tuple[list[str], list[str]]:
    """Return what is left out of a recurrent layer's call: what can change a result, and notes.

    Args:
        layer: its config.
        mask: in words what makes the mask it gets; None where it gets none.
        inputs: the names of the model's inputs.
    """
    call, texts, notes = call_of(layer), [], []
    if mask is None and call.masks:
        mask = f"it gets a mask from {shown(call.masks[0])}"
    if mask is not None:
        texts.append(SKIPPED.format(mask))
    if call.states:
        computed = [source for source in call.states if source not in inputs]
        if computed:
            texts.append(
                GIVEN_STATE.format(" and ".join(map(shown, [*dict.fromkeys(computed)][:12])))
            )
        else:
            notes.append(INPUT_STATE)
    if call.training and _drops(layer):
        texts.append(TRAINING)
    if (dtype := _half(layer)) is not None:
        texts.append(HALF.format(dtype))
    return texts, notes


def _inner(layer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the options of a layer and of those that it wraps."""
    options = layer.get("config")
    for _ in range(8):
        if not isinstance(options, dict):
            return
        yield options
        wrapped = options.get("layer", options.get("cell"))
        options = wrapped.get("config") if isinstance(wrapped, dict) else None


def _drops(layer: Mapping[str, Any]) -> bool:
    return any(
        options.get(name) not in (None, 0, 0.0)
        for options in _inner(layer)
        for name in ("dropout", "recurrent_dropout")
    )


def _half(layer: Mapping[str, Any]) -> str | None:
    """Return the type that a layer computes in, if that is one of 16 bits."""
    for options in _inner(layer):
        dtype = options.get("dtype")
        if isinstance(dtype, dict):
            inner = dtype.get("config")
            dtype = inner.get("name") if isinstance(inner, dict) else None
        if isinstance(dtype, str) and dtype.removeprefix("mixed_") in ("float16", "bfloat16"):
            return dtype.removeprefix("mixed_")
    return None
