"""What a Keras model is made of for us: cells, runs of them, layers; and its activations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...cell import Activation, Cell
from .._inventory import VALUES
from ._calls import kind_of
from ._versions import Version

# What Keras calls an activation, and what it is here. What hard_sigmoid is depends on the version.
ACTIVATIONS = {
    "tanh": Activation("tanh"),
    "sigmoid": Activation("sigmoid"),
    "linear": Activation("affine", 1.0, 0.0),
    "relu": Activation("relu"),
    "elu": Activation("elu", 1.0),
    "leaky_relu": Activation("leaky_relu", 0.2),
    "softsign": Activation("softsign"),
    "softplus": Activation("softplus"),
}
HARD_SIGMOID = {2: Activation("hard_sigmoid", 0.2, 0.5), 3: Activation("hard_sigmoid", 1 / 6, 0.5)}
Path = tuple[str, ...]


class ConfigError(ValueError):
    """The config is damaged, or tells of an LSTM that is not computed here."""


@dataclass(frozen=True)
class CellPart:
    """One LSTM cell.

    group: the path of groups under which Keras 3 keeps its weights.
    names: the names of the layers around it, from the top; Keras 2 goes by them.
    place: which it is of the cells of the innermost of these layers.
    is_guess: whether no config tells of it; then cell is the plain one.
    """

    group: Path
    names: Path
    place: int
    units: int
    cell: Cell
    use_bias: bool
    is_cudnn: bool = False
    is_guess: bool = False


@dataclass(frozen=True)
class Run:
    """Cells on top of each other that go through the sequence together, in one direction."""

    cells: tuple[CellPart, ...]
    backwards: bool


@dataclass(frozen=True)
class Layer:
    """A recurrent layer: one run, or the two of a Bidirectional, forward first.

    notes, assumptions: as of `Found`. error: why it cannot be computed; then there are no runs.
    """

    names: Path
    runs: tuple[Run, ...]
    sequences: bool = True
    merge_mode: str | None = "concat"
    notes: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    error: str | None = None

    @property
    def cells(self) -> list[CellPart]:
        return [cell for run in self.runs for cell in run.cells]


@dataclass(frozen=True)
class Other:
    """A recurrent layer that is not an LSTM of Keras's own: GRU, a class that somebody derived."""

    kind: str
    group: Path
    names: Path

    def __str__(self) -> str:
        return f"{self.kind} {'/'.join(self.names)}"


@dataclass
class Model:
    """What a config tells of.

    chains: recurrent layers that follow each other. others: those of other kinds. refused: those
    that cannot be computed, which are in chains, too. kinds: the classes of all layers, in order.
    """

    chains: list[list[Layer]] = field(default_factory=list)
    others: list[Other] = field(default_factory=list)
    refused: list[Other] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)


def activation(value: Any, major: int | None, what: str) -> Activation:
    """Return what Keras calls by a name, or describes by a layer's config.

    Raises:
        ConfigError: it is none of those that are computed here.
    """
    if value is None:
        value = "linear"
    if isinstance(value, dict):
        options, kind = value.get("config"), kind_of(value)
        options = options if isinstance(options, dict) else {}
        number = {"LeakyReLU": ("negative_slope", "alpha"), "ELU": ("alpha",)}.get(kind, ())
        for name in number:
            if isinstance(options.get(name), (int, float)) and not value.get("registered_name"):
                return Activation("leaky_relu" if kind == "LeakyReLU" else "elu", options[name])
        value = kind if kind != "function" else value.get("config")
    elif value == "hard_sigmoid":
        if major is None:
            raise ConfigError(
                f"{what} is hard_sigmoid, which Keras 2 and 3 compute differently, and the file "
                "does not say by which it was written: read and load take recurrent_activation="
                "Activation('hard_sigmoid', 0.2, 0.5) as Keras 2 has it, 1/6 instead of 0.2 as 3"
            )
        return HARD_SIGMOID[2 if major < 3 else 3]
    elif isinstance(value, str) and value in ACTIVATIONS:
        return ACTIVATIONS[value]
    known = ", ".join([*ACTIVATIONS, "hard_sigmoid"])
    raise ConfigError(f"{what} is {VALUES.repr(value)}, which is not computed here; {known} are")


def _option(value: str | Activation | None, version: Version, name: str) -> Activation | None:
    if value is None or isinstance(value, Activation):
        return value
    return activation(value, version.major, name)


@dataclass(frozen=True)
class Taken:
    """What the options of `read` say, for what the file does not."""

    version: Version
    main: Activation | None
    gate: Activation | None
    go_backwards: bool | None

    @classmethod
    def of(
        cls,
        version: Version,
        main: str | Activation | None,
        gate: str | Activation | None,
        go_backwards: bool | None,
    ) -> Taken:
        """Return the options of `read`.

        Raises:
            ValueError: one is not an activation that is computed here.
        """
        first = _option(main, version, "activation")
        return cls(version, first, _option(gate, version, "recurrent_activation"), go_backwards)

    def cell(self) -> tuple[Cell, list[str]]:
        """Return the cell of a layer of which the file says nothing, and what was assumed of it.

        Raises:
            ConfigError: recurrent_activation must be given.
        """
        texts = [] if self.main is not None else ["activation tanh"]
        main = self.main or ACTIVATIONS["tanh"]
        gate, more = self.gates()
        return Cell(gate=gate, input=main, output=main), [*texts, *more]

    def gates(self) -> tuple[Activation, list[str]]:
        """Return what the gates of such a layer compute, and what was assumed of it.

        Raises:
            ConfigError: recurrent_activation must be given.
        """
        if self.gate is not None:
            return self.gate, []
        try:
            name = self.version.recurrent_activation()
        except ValueError as error:
            raise ConfigError(str(error)) from None
        text = f"recurrent_activation {name} (the default of {self.version})"
        return activation(name, self.version.major, "recurrent_activation"), [text]
