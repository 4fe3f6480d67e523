"""Runs of RTNeural itself: its C++ headers, compiled with the backend that needs no library."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np

PROGRAM = r"""
#include <RTNeural/RTNeural.h>
#include <cstdio>
#include <fstream>
#include <vector>
int main(int, char** argv)
{
    std::ifstream file(argv[1]);
    auto model = RTNeural::json_parser::parseJson<float>(file, false);
    if (!model)
        return 2;
    model->reset();
    std::vector<float> x(model->getInSize());
    for (;;)
    {
        for (auto& value : x)
            if (std::scanf("%a", &value) != 1)
                return 0;
        model->forward(x.data());
        for (int i = 0; i < model->getOutSize(); ++i)
            std::printf("%a ", model->getOutputs()[i]);
        std::printf("\n");
    }
}
"""
DEFINITIONS = ("USE_STL=1", "DEFAULT_ALIGNMENT=16", "NAMESPACE=RTNeural")


def compiled(sources: Path, folder: Path) -> Path:
    """Return a program that runs a model, made from a checkout of RTNeural; it takes a while."""
    compiler = shutil.which("c++") or shutil.which("g++") or "clang++"
    (folder / "run.cpp").write_text(PROGRAM)
    defined = [f"-DRTNEURAL_{one}" for one in DEFINITIONS]
    command = [compiler, "-std=c++17", "-O1", *defined, f"-I{sources}", "run.cpp", "-o", "run"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "run"


def run(program: Path, model: Path, xs: np.ndarray) -> np.ndarray:
    """Return what it computes of frames (T, I), from a reset."""
    text = " ".join(float(x).hex() for x in xs.ravel())
    done = subprocess.run([program, model], input=text, capture_output=True, text=True, check=True)
    rows = [[float.fromhex(one) for one in line.split()] for line in done.stdout.splitlines()]
    return np.array(rows, np.float32)
