"""RTNeural as a peer: its C++, compiled for the sizes of an LSTM, which is its fast way.

There is no package of it. LSTM_FAST_RTNEURAL names a checkout, and a C++ compiler has to be there.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from cffi import FFI

from .._arrays import Float32
from . import CannotRunError
from .contenders import Contender
from .shapes import Shape

NAME, VARIABLE = "rtneural", "LSTM_FAST_RTNEURAL"
EIGEN, XSIMD = "modules/Eigen", "modules/xsimd/include"  # within a checkout
_LOADED: list[Any] = []  # cffi unloads a library that nobody holds, though its functions are held
HEADER = """
extern float x[], y[];
void weights(int layer, const float *input, const float *hidden, const float *bias);
void reset(void);
void step(void);
"""
# Weights come as Keras has them, (inputs, 4H). Frames of whole vectors: xsimd reads the last whole.
SOURCE = """
#include <RTNeural/RTNeural.h>
using Model = RTNeural::ModelT<float, INPUT, HIDDEN, LAYERS>;
static Model model;
static std::vector<std::vector<float>> rows(const float* values, int count)
{
    std::vector<std::vector<float>> found;
    for (int row = 0; row < count; ++row, values += 4 * HIDDEN)
        found.emplace_back(values, values + 4 * HIDDEN);
    return found;
}
template <int N>
static void fill(int layer, const float* input, const float* hidden, const float* bias)
{
    if (layer == N) {
        model.get<N>().setWVals(rows(input, N ? HIDDEN : INPUT));
        model.get<N>().setUVals(rows(hidden, HIDDEN));
        model.get<N>().setBVals(std::vector<float>(bias, bias + 4 * HIDDEN));
    } else if constexpr (N + 1 < COUNT) {
        fill<N + 1>(layer, input, hidden, bias);
    }
}
extern "C" {
alignas(64) float x[(INPUT + 15) / 16 * 16], y[HIDDEN];
void weights(int layer, const float* input, const float* hidden, const float* bias)
{
    fill<0>(layer, input, hidden, bias);
}
void reset(void) { model.reset(); }
void step(void)
{
    model.forward(x);
    std::copy(model.getOutputs(), model.getOutputs() + HIDDEN, y);
}
}
"""


def checkout() -> Path:
    """Return the folder that LSTM_FAST_RTNEURAL names.

    Raises:
        CannotRunError: it names none, or there is no C++ compiler.
    """
    folder = Path(os.environ.get(VARIABLE, ""))
    if not (folder / "RTNeural/RTNeural.h").is_file():
        raise CannotRunError(
            f"peer {NAME!r} is compiled from a checkout of "
            f"https://github.com/jatinchowdhury18/RTNeural: set {VARIABLE} to its folder"
        )
    if shutil.which("c++") is None:
        raise CannotRunError(f"peer {NAME!r} needs a C++ compiler, named c++")
    return folder.resolve()


def backends(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield those that can be compiled, with their flags; Eigen is its default."""
    if (folder / EIGEN).is_dir():
        # Eigen refuses large matrices of fixed size, which might be on a stack; this one is not.
        fixed = "-DEIGEN_STACK_ALLOCATION_LIMIT=0"
        yield "eigen", ["-DRTNEURAL_USE_EIGEN=1", fixed, f"-I{folder / EIGEN}"]
    if (folder / XSIMD).is_dir():
        is_x86 = platform.machine().lower() in {"x86_64", "amd64"}
        vectors = ["-mno-avx512f"] if is_x86 else []  # of 32 bytes, as its own build has it
        yield "xsimd", ["-DRTNEURAL_USE_XSIMD=1", f"-I{folder / XSIMD}", *vectors]
    yield "stl", ["-DRTNEURAL_USE_STL=1"]


def compiled(folder: Path, shape: Shape, flags: list[str]) -> tuple[FFI, Any]:
    """Return a library for an LSTM of that shape; it takes seconds.

    Raises:
        CannotRunError: it does not compile.
    """
    widths = [shape.input_size, *[shape.hidden_size] * (shape.num_layers - 1)]
    layers = ", ".join(f"RTNeural::LSTMLayerT<float, {width}, HIDDEN>" for width in widths)
    sizes = f"#define INPUT {shape.input_size}\n#define HIDDEN {shape.hidden_size}\n"
    sizes += f"#define COUNT {shape.num_layers}\n#define LAYERS {layers}\n"
    with tempfile.TemporaryDirectory() as work:
        source, library = Path(work, "step.cpp"), Path(work, "step.so")
        source.write_text(sizes + SOURCE, encoding="utf-8")
        command = [
            "c++",
            "-std=c++17",
            "-O3",
            "-DNDEBUG",
            "-march=native",
            "-shared",
            "-fPIC",
            "-w",
        ]
        command += ["-DRTNEURAL_DEFAULT_ALIGNMENT=32", f"-I{folder}", *flags]
        command += [str(source), "-o", str(library)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise CannotRunError(f"RTNeural does not compile: {' '.join(command)}\n{done.stderr}")
        ffi = FFI()
        ffi.cdef(HEADER.replace("[]", f"[{max(shape.input_size, shape.hidden_size)}]"))
        _LOADED.append(ffi.dlopen(str(library)))
        return ffi, _LOADED[-1]


def make(shape: Shape, weights: dict[str, Float32]) -> list[Contender]:
    """Return one session on each of its backends, with these weights, under PyTorch's names.

    Raises:
        CannotRunError: see `checkout` and `compiled`.
    """
    folder = checkout()
    return [_contender(name, folder, shape, weights, f) for name, f in backends(folder)]


def _contender(
    name: str, folder: Path, shape: Shape, weights: dict[str, Float32], flags: list[str]
) -> Contender:
    ffi, library = compiled(folder, shape, flags)
    for layer in range(shape.num_layers):
        input_hidden = (weights[f"weight_{kind}_l{layer}"].T for kind in ("ih", "hh"))
        bias = weights[f"bias_ih_l{layer}"] + weights[f"bias_hh_l{layer}"]
        arrays = [np.ascontiguousarray(array) for array in (*input_hidden, bias)]
        library.weights(layer, *[ffi.from_buffer("float[]", array) for array in arrays])
    library.reset()

    def view(values: Any, size: int) -> Float32:
        return np.frombuffer(ffi.buffer(values, 4 * size), np.float32)[None]

    x, y = view(library.x, shape.input_size), view(library.y, shape.hidden_size)
    return Contender(f"{NAME}:{name}", "float32", [x], partial(library.step), lambda: [y])
