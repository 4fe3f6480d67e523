"""What belongs together among the LSTM operators of a graph: steps, directions, stacks.

A loop that was unrolled is one LSTM whose weights stand in many operators; Keras's Bidirectional is
two of them with a REVERSE_V2 before and after the second; a stack is one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..._weights import Direction
from .._files import FormatError
from ._file import Operator
from ._operators import (
    BIDIRECTIONAL,
    CODES,
    SEQUENCE,
    Graph,
    Layer,
    is_basic,
    options_of,
    read_layers,
)

LSTM_STEPS, LSTM_BYTES = 600, 10_000  # of one LSTM, beside its weights
OPERATOR_STEPS, KEY_STEPS = 2, 15  # of one of its operators: to join it, to see whose step it is
REVERSED = (
    "the file reverses its input in time before it (REVERSE_V2), and not its output after it; here "
    "it takes frames as they come, so give them in reverse"
)


@dataclass
class Node:
    """One LSTM layer of a graph, all its directions.

    data: the tensors that are its input; outputs: those that are its h, which only `single` ones
    can hand to a layer above. error: why it cannot be computed; then there are no layers, and it
    is not a part of anything larger.
    """

    operators: list[Operator]
    layers: list[Layer]
    data: set[int]
    outputs: set[int]
    direction: Direction = "forward"
    time_major: bool = False
    single: bool = True
    error: FormatError | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        weights = self.layers[0].weights
        return weights.hidden_size, weights.output_size


def _key(graph: Graph, operator: Operator) -> tuple[object, ...]:
    """Return what is the same for all steps of one LSTM: its weights."""
    if is_basic(graph, operator):
        return (operator.code, *operator.inputs[2:4])
    states = range(35, 39) if operator.code == BIDIRECTIONAL else range(18, 20)
    weights = [t for place, t in enumerate(operator.inputs) if place and place not in states]
    return (operator.code, *weights)


def nodes_of(graph: Graph) -> list[Node]:
    """Return a graph's LSTM layers in the order of its operators."""
    groups: dict[tuple[object, ...], list[Operator]] = {}
    for operator in graph.operators:
        if operator.code in CODES:
            graph.file.budget.work(KEY_STEPS)
            groups.setdefault(_key(graph, operator), []).append(operator)
    budget = graph.file.budget
    nodes = []
    for operators in groups.values():  # charged here, since what follows takes errors as its own
        budget.work(LSTM_STEPS + OPERATOR_STEPS * len(operators))
        budget.memory(LSTM_BYTES, "its LSTM operators")
        nodes.append(_node_or_error(graph, operators))
    good = [node for node in nodes if node.error is None]
    for node in good:
        _see_reversal(graph, node)
    joined = _pair_directions(graph, good) + [node for node in nodes if node.error is not None]
    return sorted(joined, key=lambda node: node.operators[0].number)


def _node_or_error(graph: Graph, operators: list[Operator]) -> Node:
    first = operators[0]
    try:
        return _node(graph, operators, read_layers(graph, first))
    except FormatError as error:
        return Node(operators, [], set(), set(first.outputs[:1]), error=error)


def _node(graph: Graph, operators: list[Operator], layers: list[Layer]) -> Node:
    first = operators[0]
    node = Node(
        operators,
        layers,
        {operator.inputs[0] for operator in operators if operator.inputs},
        {operator.outputs[0] for operator in operators if operator.outputs},
    )
    if first.code == BIDIRECTIONAL:
        node.direction = "bidirectional"
        with graph.file.reading(str(first)):
            node.single = bool(options_of(graph, first).MergeOutputs())
    if first.code in (SEQUENCE, BIDIRECTIONAL):
        with graph.file.reading(str(first)):
            node.time_major = bool(options_of(graph, first).TimeMajor())
    if len(operators) > 1:
        layers[0].notes.append(f"{len(operators)} operators have these weights: one LSTM")
    return node


def _only_user(graph: Graph, tensor: int) -> tuple[Operator, int] | None:
    """Return the only operator that uses a tensor, and at which place."""
    users = graph.users.get(tensor, [])
    return users[0] if len(users) == 1 and tensor not in graph.outputs else None


def _reverses_time(graph: Graph, operator: Operator | None, node: Node) -> bool:
    """Whether an operator turns the time axis around, and nothing else."""
    if operator is None or operator.code != "REVERSE_V2" or len(operator.inputs) != 2:
        return False
    axis = graph.subgraph.tensor(operator.inputs[1])
    if axis.type != "INT32" or axis.shape != (1,) or not graph.file.is_constant(axis):
        return False
    return int(graph.file.values(axis, "<i4")[0]) % 3 == (0 if node.time_major else 1)


def _see_reversal(graph: Graph, node: Node) -> None:
    """Where time is reversed before an LSTM and again after it, make it a reverse one."""
    if len(node.operators) != 1 or node.direction != "forward" or len(node.data) != 1:
        return
    (before,), (after,) = node.data, node.outputs
    maker = graph.makers.get(before)
    if not _reverses_time(graph, maker, node) or maker is None:
        return
    user = _only_user(graph, after)
    if (
        user is None
        or user[1] != 0
        or not _reverses_time(graph, user[0], node)
        or not user[0].outputs
    ):
        node.layers[0].assumptions.append(REVERSED)
        return
    node.direction = "reverse"
    node.data, node.outputs = {maker.inputs[0]}, {user[0].outputs[0]}


def _pair_directions(graph: Graph, nodes: list[Node]) -> list[Node]:
    """Join a forward and a reverse one whose outputs are concatenated."""
    by_output = {min(node.outputs): node for node in nodes if len(node.outputs) == 1}
    partners = {id(node): _partner(graph, node, by_output) for node in nodes}
    backward = {id(partner) for partner in partners.values() if partner}
    joined = []
    for node in nodes:
        partner = partners[id(node)]
        if partner:
            joined.append(_joined(graph, node, partner))
        elif id(node) not in backward:
            joined.append(node)
    return joined


def _joined(graph: Graph, forward: Node, backward: Node) -> Node:
    concatenation = graph.users[min(forward.outputs)][0][0]
    return Node(
        [*forward.operators, *backward.operators],
        [*forward.layers, *backward.layers],
        forward.data,
        {concatenation.outputs[0]},
        "bidirectional",
        forward.time_major,
    )


def _partner(graph: Graph, node: Node, by_output: dict[int, Node]) -> Node | None:
    """Return the reverse LSTM that a forward one is concatenated with."""
    if node.direction != "forward" or len(node.outputs) != 1:
        return None
    mine = min(node.outputs)
    user = _only_user(graph, mine)
    if user is None or user[0].code != "CONCATENATION":
        return None
    concatenation = user[0]
    if len(concatenation.inputs) != 2 or user[1] != 0 or not concatenation.outputs:
        return None
    theirs = concatenation.inputs[1]
    other = by_output.get(theirs)
    if other is None or other.direction != "reverse" or _only_user(graph, theirs) is None:
        return None
    with graph.file.reading(str(concatenation)):
        table = concatenation.table.BuiltinOptions()
        if table is None:
            return None
        options = graph.file.schema.ConcatenationOptions()
        options.Init(table.Bytes, table.Pos)
        last = options.Axis() in (2, -1)
    same = (other.data, other.sizes, other.time_major) == (node.data, node.sizes, node.time_major)
    return other if last and same else None


def _follows(graph: Graph, below: Node, above: Node) -> bool:
    """Whether all that goes into one is all that comes out of the other, and fits a stack."""
    users = sum(1 + len(graph.users.get(tensor, ())) for tensor in below.outputs)
    steps = len(below.operators) + users * (1 + len(above.operators))
    graph.file.budget.work(OPERATOR_STEPS * steps)
    own = {operator.number for operator in below.operators}
    theirs = {operator.number for operator in above.operators}
    for tensor in below.outputs:
        # A step's h goes up, and on to its own next step.
        up = [(o, p) for o, p in graph.users.get(tensor, []) if o.number not in own]
        if tensor in graph.outputs or not up:
            return False
        if any(place != 0 or operator.number not in theirs for operator, place in up):
            if above.direction == "forward":
                return False
            # the two halves of a bidirectional one, the second behind its reversal
            makers = {graph.makers.get(t) for o in above.operators for t in o.inputs[:1]}
            if any(operator not in makers and operator.number not in theirs for operator, _ in up):
                return False
    fits = above.data <= below.outputs and below.single and above.direction == below.direction
    return fits and below.sizes == above.sizes and below.time_major == above.time_major


def stacks_of(graph: Graph) -> list[list[Node]]:
    """Return a graph's LSTMs, each as its layers from the bottom up; one with an error alone."""
    every = nodes_of(graph)
    nodes = [node for node in every if node.error is None]
    made = {tensor: n for n, node in enumerate(nodes) for tensor in node.outputs}
    above: dict[int, int] = {}
    for n, node in enumerate(nodes):
        below = made.get(min(node.data)) if node.data else None
        if below is not None and below != n and _follows(graph, nodes[below], node):
            above[below] = n
    tops = set(above.values())
    stacks, used = [], set()
    # Those with nothing below them first; then what is left, which are circles in damaged files.
    for start in [*(n for n in range(len(nodes)) if n not in tops), *range(len(nodes))]:
        stack: list[Node] = []
        place: int | None = start
        while place is not None and place not in used:
            used.add(place)
            stack.append(nodes[place])
            place = above.get(place)
        if stack:
            stacks.append(stack)
    stacks += [[node] for node in every if node.error is not None]
    return sorted(stacks, key=lambda stack: stack[0].operators[0].number)
