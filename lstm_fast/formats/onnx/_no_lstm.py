"""What to say of an ONNX model without an LSTM node: what there is instead, and what to do."""

from __future__ import annotations

from collections import Counter

from .._inventory import counted
from ._graph import Scope

OTHERS = ("RNN", "GRU", "AttnLSTM", "DynamicQuantizeGRU")
PRODUCTS = frozenset({"Gemm", "MatMul", "FusedMatMul", "FusedGemm", "Conv", "MatMulInteger"})
PRODUCTS |= {"QLinearMatMul", "QGemm", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"}
GATES = frozenset({"Sigmoid", "QLinearSigmoid", "HardSigmoid"})
LOOPS = ("Loop", "Scan")


def nothing(all_scopes: list[Scope]) -> str:
    """Say that there is no LSTM, and what there is instead."""
    nodes = [node for scope in all_scopes for node in scope.nodes]
    counts = Counter(
        node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        for node in nodes
    )
    kinds = {node.op_type for node in nodes}
    text = "there is no LSTM node in it"
    others = [name for name in OTHERS if name in kinds]
    is_decomposed = kinds >= {"Tanh", "Mul", "Add"} and kinds & GATES and kinds & PRODUCTS
    if others:
        text += f", but {', '.join(others)}, which is not an LSTM"
    elif is_decomposed:
        loops = [name for name in LOOPS if name in kinds]
        where = f" inside of a {' or '.join(loops)}" if loops else ""
        text += (
            f"; its exporter or an optimiser seems to have taken one apart{where} into Gemm or "
            "MatMul, Sigmoid, Tanh, Mul and Add. Export it with LSTM nodes (from torch.nn.LSTM "
            "itself, before onnxsim and the like), or load the weights it was made from"
        )
    return f"{text}. There are nodes of {counted(counts)}" if counts else f"{text}, and no node"
