"""What stands under the prefix of an LSTM and is none of its parameters.

It is harmless, or a reason to refuse, since the module may compute something else with it.
The rule, for every reader that goes by names:

    counters, such as num_batches_tracked                    harmless
    the module of the LSTM is a whole model: there is no prefix, or one such as "model."
        what is named as another layer: head, fc, embedding  harmless
        a parameter or buffer of the module itself           refused
        a layer named as part of a cell: norm, gate          refused
        a layer whose shape would fit into a cell            refused
        any other layer                                      harmless
    anything else                                            refused
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ._names import SEPARATOR

COUNTERS = frozenset({
    "num_batches_tracked", "n_averaged", "num_updates", "global_step", "step", "steps", "epoch",
})  # fmt: skip
WRAPPERS = frozenset({
    "module", "model", "net", "network", "_orig_mod", "state_dict", "model_state_dict",
    "model_state", "ema", "ema_model", "_forward_module",
})  # fmt: skip
OTHER_LAYERS = frozenset({
    "head", "heads", "lm_head", "fc", "classifier", "logits", "embedding", "embeddings", "embed",
    "emb", "encoder", "decoder", "backbone", "frontend", "crf", "criterion", "loss",
})  # fmt: skip
IN_CELLS = re.compile("norm|gate|peep|zoneout|atten|attn|recur|resid|skip|highway|mask|drop|scale")
IN_CELLS_SHORT = frozenset({"ln", "bn", "gn", "rms", "ih", "hh", "hr", "h", "c", "u"})
SHOWN = 5


@dataclass(frozen=True)
class Sizes:
    """I, H and P of an LSTM."""

    inputs: int
    hidden: int
    output: int


def _is_whole_model(prefix: str) -> bool:
    """Whether what stands under it is a model of its own and no layer of one."""
    return all(word in WRAPPERS for word in prefix.split(".") if word)


def _is_counter(rest: str, shape: tuple[int, ...]) -> bool:
    return rest.rpartition(".")[2] in COUNTERS and shape in ((), (1,))


def _is_other_layer(rest: str) -> bool:
    """Whether it is named as a layer that no cell has: "fc1.weight", "lm_head.bias"."""
    first = re.split(r"[./]", rest, maxsplit=1)[0].lower().rstrip("0123456789")
    word = SEPARATOR.split(first, maxsplit=1)[0]
    return first.rstrip("_-") in OTHER_LAYERS or word in OTHER_LAYERS


def _is_in_cell_by_name(rest: str) -> bool:
    words = SEPARATOR.split(rest.lower())
    return bool(IN_CELLS.search(rest.lower())) or not IN_CELLS_SHORT.isdisjoint(words)


def _fits_into_a_cell(shape: tuple[int, ...], sizes: Sizes) -> bool:
    """Whether a layer whose largest parameter has this shape could be a part of a step.

    A normalisation has no matrix; others add to gates, c, h or the state's share of x.
    """
    if len(shape) < 2:
        return True
    if len(shape) > 2:
        return False
    rows, columns = shape
    of_state = columns in (sizes.hidden, sizes.output)
    return rows % sizes.hidden == 0 or rows == sizes.output or (rows == sizes.inputs and of_state)


def harmless(
    prefix: str, beside: Iterable[str], shapes: Mapping[str, tuple[int, ...]], sizes: Sizes
) -> list[str]:
    """Return those names, all of which stand under the prefix, if they change nothing.

    Args:
        prefix: of the LSTM.
        beside: the names.
        shapes: of each.
        sizes: of the LSTM.

    Raises:
        ValueError: some may change what the LSTM computes; it says how to load without them.
    """
    names = sorted(beside)
    largest: dict[str, tuple[int, ...]] = {}  # by layer
    for name in names:
        layer = _layer(name)
        largest[layer] = max(largest.get(layer, ()), shapes[name], key=len)
    wrong = [
        name
        for name in names
        if not name.startswith(prefix)  # it stands above several
        or not _is_harmless(prefix, name[len(prefix) :], shapes[name], largest[_layer(name)], sizes)
    ]
    if wrong:
        raise ValueError(refusal(wrong, prefix))
    return names


def _layer(name: str) -> str:
    return name[: max(name.rfind("."), name.rfind("/")) + 1]


def _is_harmless(
    prefix: str, rest: str, shape: tuple[int, ...], largest: tuple[int, ...], sizes: Sizes
) -> bool:
    if _is_counter(rest, shape):
        return True
    if not _is_whole_model(prefix):
        return False
    if _is_other_layer(rest):
        return True
    if not _layer(rest):
        return False
    return not _is_in_cell_by_name(rest) and not _fits_into_a_cell(largest, sizes)


def refusal(names: list[str], prefix: str) -> str:
    """Return the error on names that are not understood."""
    is_norm = any(re.search(r"norm|\bln", name[len(prefix) :].lower()) for name in names)
    hint = " (layer normalisation is read as layer_norm_l0 alone, see lstm_fast.Cell)"
    stands, it, changes = ("stands", "it", "it changes")
    if len(names) > 1:
        stands, it, changes = ("stand", "them", "they change")
    return (
        f"{listed(names)} {stands} beside the weights of this LSTM, which may compute something "
        f"else with {it} than a plain one{hint if is_norm else ''}; if {changes} nothing, leave "
        f"{it} out: {advice(names, prefix)}"
    )


def advice(names: list[str], prefix: str) -> str:
    """Return the option that leaves these names out, layer by layer."""
    patterns = list(dict.fromkeys(_pattern(name, prefix) for name in names))
    return f"ignore={patterns[:SHOWN]}" + (" and so on" if len(patterns) > SHOWN else "")


def _pattern(name: str, prefix: str) -> str:
    layer = _layer(name[len(prefix) :]) if name.startswith(prefix) else ""
    return glob.escape(prefix + layer) + "*" if layer else glob.escape(name)


def listed(names: list[str]) -> str:
    """Return the first of the names, and how many more there are."""
    text = ", ".join(map(repr, names[:SHOWN]))
    return f"{text} and {len(names) - SHOWN} more" if len(names) > SHOWN else text
