"""What stands under the prefix of an LSTM and is none of its parameters.

It is harmless, or a reason to refuse, since the module may compute something else with it.
The rule, for every reader that goes by names:

    counters, such as num_batches_tracked                    harmless
    an embedding as wide as the input, and as nothing else   harmless
    the module of the LSTM is a whole model: there is no prefix, or one such as "model."
        what is named as another layer: head, fc, conv       harmless
        a parameter or buffer of the module itself           refused
        a layer named as part of a cell: gate, attention     refused
        a layer whose shape would fit into a cell            refused
        any other layer                                      harmless
    it is a layer, such as "decoder."
        what is named as a head or an embedding              left out, with a warning
    anything else                                            refused
"""

from __future__ import annotations

import glob
import math
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ._parameter_names import SEPARATOR
from ._shown import shown

COUNTERS = frozenset({
    "num_batches_tracked", "n_averaged", "num_updates", "global_step", "step", "steps", "epoch",
    "epochs", "iteration", "iterations", "best_loss", "best_acc", "best_score",
})  # fmt: skip
# "model", "lstm_model", "_fsdp_wrapped_module", "ema_state_dict", and of an ensemble "models.0"
WRAPPER = re.compile(
    r"(.*_)?(module|model|net|network|_orig_mod|mod|state|dict|ema|shadow|weights|params"
    r"|student|teacher|policy|actor|critic|agent|generator|discriminator)|(models|nets)\.\d+"
)
HEADS = frozenset({
    "head", "heads", "lm_head", "fc", "classifier", "logits", "crf", "criterion", "loss",
    "readout", "predictor", "regressor", "tagger", "hidden2tag", "hidden2label",
})  # fmt: skip
OTHER_LAYERS = HEADS | {
    "embedding", "embeddings", "embed", "emb", "encoder", "decoder", "backbone", "frontend",
    "features", "conv", "convs", "cnn", "stem", "prenet", "postnet", "policy", "actor", "critic",
}  # fmt: skip
# Of these no more than the whole name: "output_norm" may be in a cell.
OUTPUTS = frozenset({"out", "output", "output_layer", "out_layer"})
IN_CELLS = re.compile("gate|peep|zoneout|atten|attn|recur|resid|skip|highway|mask|drop|scale")
IN_CELLS_SHORT = frozenset({"ih", "hh", "hr", "h", "c", "u"})
PARAMETRIZATIONS = "parametrizations."
SHOWN = 5
PATTERNS = 16


@dataclass(frozen=True)
class Sizes:
    """I, H and P of an LSTM."""

    inputs: int
    hidden: int
    output: int

    @property
    def of_step(self) -> frozenset[int]:
        """The lengths of what there is in a step: h, some gates, the input and h in one."""
        gates = {n * self.hidden for n in (1, 2, 3, 4)}
        return frozenset({self.output, self.inputs + self.output, *gates})


def _is_whole_model(prefix: str) -> bool:
    """Whether what stands under it is a model of its own and no layer of one."""
    words = re.sub(r"\.(?=\d+(\.|$))", "\0", prefix).split(".")  # "models.0" is one
    return all(WRAPPER.fullmatch(word.replace("\0", ".")) for word in words if word)


def _is_counter(rest: str, shape: tuple[int, ...]) -> bool:
    return rest.rpartition(".")[2] in COUNTERS and shape in ((), (1,))


def _is_head(rest: str) -> bool:
    """Whether it is named as a layer after the LSTM: "fc1.weight", "value_head.bias"."""
    first, words = _first_word(rest)
    is_named = not HEADS.isdisjoint({first, words[0], words[-1]})
    return is_named and (first in HEADS or not _is_in_cell_by_name(first))


def _is_other_layer(rest: str) -> bool:
    """Whether it is named as a layer that no cell has: "embedding.weight", "conv2.bias"."""
    first, words = _first_word(rest)
    if first in OTHER_LAYERS | OUTPUTS or _is_head(rest):
        return True
    return words[0] in OTHER_LAYERS and not _is_in_cell_by_name(first)


def _first_word(rest: str) -> tuple[str, list[str]]:
    first = re.split(r"[./]", rest, maxsplit=1)[0].lower().rstrip("0123456789").rstrip("_-")
    return first, SEPARATOR.split(first)


def _is_embedding_of_inputs(rest: str, shape: tuple[int, ...], sizes: Sizes) -> bool:
    """Whether its rows are as wide as inputs of the LSTM: "char_embedding.weight"."""
    layer = _layer(rest).lower()
    is_named = re.search(r"(?<!m)emb|wte", layer) and not _is_in_cell_by_name(layer)
    return bool(is_named) and len(shape) == 2 and shape[1] == sizes.inputs


def _is_in_cell_by_name(rest: str) -> bool:
    words = SEPARATOR.split(rest.lower())
    return bool(IN_CELLS.search(rest.lower())) or not IN_CELLS_SHORT.isdisjoint(words)


def _fits_into_a_cell(shape: tuple[int, ...], sizes: Sizes) -> bool:
    """Whether a layer whose largest parameter has this shape could be a part of a step.

    A normalisation has no matrix; others add to gates, c, h or the state's share of x.
    """
    if len(shape) > 2:
        return False
    if len(shape) < 2:
        return shape in ((), (1,)) or shape[0] in sizes.of_step
    rows, columns = shape
    of_state = columns in (sizes.hidden, sizes.output)
    return rows in sizes.of_step or (rows == sizes.inputs and of_state)


def harmless(
    prefix: str, beside: Iterable[str], shapes: Mapping[str, tuple[int, ...]], sizes: Sizes
) -> tuple[list[str], list[str]]:
    """Return those names, all of which stand under the prefix, if they change nothing.

    Those that are known to, and those that are taken to by their name alone.

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
        shape = max(largest.get(_layer(name), ()), shapes[name], key=_size)
        largest[_layer(name)] = shape
    known, taken, wrong = [], [], []
    for name in names:
        rest = name[len(prefix) :]
        if not name.startswith(prefix):  # it stands above several
            wrong.append(name)
        elif _is_harmless(prefix, rest, shapes[name], largest[_layer(name)], sizes):
            known.append(name)
        elif _is_taken(rest, shapes[name], sizes):
            taken.append(name)
        else:
            wrong.append(name)
    if wrong:
        raise ValueError(refusal(wrong, prefix))
    return known, taken


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    return len(shape), math.prod(shape)


def _layer(name: str) -> str:
    """Return the name of the module that a parameter, computed or not, belongs to."""
    name = name.partition(PARAMETRIZATIONS)[0]
    return name[: max(name.rfind("."), name.rfind("/")) + 1]


def _is_harmless(
    prefix: str, rest: str, shape: tuple[int, ...], largest: tuple[int, ...], sizes: Sizes
) -> bool:
    if _is_counter(rest, shape):
        return True
    if _is_embedding_of_inputs(rest, shape, sizes) and shape[1] not in sizes.of_step:
        return True
    if not _is_whole_model(prefix) or not _layer(rest):
        return False
    if _is_other_layer(rest) or _is_embedding_of_inputs(rest, shape, sizes):
        return True
    return not _is_in_cell_by_name(rest) and not _fits_into_a_cell(largest, sizes)


def _is_taken(rest: str, shape: tuple[int, ...], sizes: Sizes) -> bool:
    """Whether its name alone says that it is another layer."""
    return bool(_layer(rest)) and (_is_head(rest) or _is_embedding_of_inputs(rest, shape, sizes))


def refusal(names: list[str], prefix: str) -> str:
    """Return the error on names that are not understood."""
    is_norm = any(re.search(r"norm|\bln", name[len(prefix) :].lower()) for name in names)
    hint = " (layer normalisation is read as layer_norm_l0 alone, see lstm_fast.Cell)"
    are, it, changes = ("is", "it", "it changes")
    if len(names) > 1:
        are, it, changes = ("are", "them", "they change")
    return (
        f"{listed(names)} {are} beside the weights of this LSTM, which may compute something "
        f"else with {it} than a plain one{hint if is_norm else ''}; if {changes} nothing, leave "
        f"{it} out: {advice(names, prefix)}"
    )


def advice(names: list[str], prefix: str) -> str:
    """Return the options that leave these names out, layer by layer."""
    patterns = list(dict.fromkeys(_pattern(name, prefix) for name in names))
    more = " and so on" if len(patterns) > PATTERNS else ""
    patterns = patterns[:PATTERNS]
    options = " ".join(f"--ignore {shlex.quote(pattern)}" for pattern in patterns[:3])
    if len(patterns) > 3:
        options += " ..."
    return f"{options} on the command line, or ignore={patterns}{more}"


def _pattern(name: str, prefix: str) -> str:
    layer = _layer(name[len(prefix) :]) if name.startswith(prefix) else ""
    return glob.escape(prefix + layer) + "*" if layer else glob.escape(name)


def listed(names: list[str]) -> str:
    """Return the first of the names, and how many more there are."""
    text = ", ".join(map(shown, names[:SHOWN]))
    return f"{text} and {len(names) - SHOWN} more" if len(names) > SHOWN else text
