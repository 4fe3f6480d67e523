"""Where the numbers in csrc/generic/exponentials.h come from.

    exp       exp(r) - 1 = r + r^2 Q(r)            |r| <= ln(2) / 2, relative to exp(r)
    log       log(1 + f) = f + f^2 Q(f)            -1/4 <= f <= 1/2, relative to the logarithm
    erf near  erf(x) = x + x Q(x^2)                |x| <= 1, relative to erf(x)
    erf far   erf(a) = 1 - exp(-Q(a))              1 <= a <= 4, relative to erf(a)
    exp2      2^r = 1 + r Q(r)                     |r| <= 1/2, relative to 2^r
    log2      log2((1 + s) / (1 - s)) = 2 s / ln(2) + s^3 Q(s^2)     |s| <= 0.172, relative to s

Each Q is fitted by Lawson's iteration (weighted least squares whose weights follow the error) at
Chebyshev nodes, its coefficients are rounded to float32, the lowest first, with those above it
fitted again to what the rounding left, and the error of the rounded polynomial is printed.

    python benchmarks/fit_exponentials.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mpmath as mp
import numpy as np

NODES = 400
ITERATIONS = 60
Function = Callable[[mp.mpf], mp.mpf]


def solve(basis: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the coefficients [columns] of the least weighted error, at its largest."""
    lawson = np.ones(len(target))
    for _ in range(ITERATIONS):
        scale = weight * np.sqrt(lawson)
        solution = np.linalg.lstsq(basis * scale[:, None], target * scale, rcond=None)[0]
        error = weight * np.abs(basis @ solution - target)
        lawson *= error / error.max() + 1e-12
        lawson /= lawson.sum()
    return np.asarray(solution)


def fit(name: str, q: Function, weight: Function, ends: Sequence[float], degree: int) -> None:
    """Print the float32 coefficients of Q from the lowest up, and the error in units of 2^-24."""
    low, high = ends
    nodes = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    x = (low + high) / 2 + (high - low) / 2 * nodes
    target = np.array([float(q(mp.mpf(v))) for v in x])
    weights = np.array([abs(float(weight(mp.mpf(v)))) for v in x])
    rounded: list[float] = []
    rest = target
    for power in range(degree + 1):
        basis = np.stack([x**p for p in range(power, degree + 1)], axis=1)
        rounded.append(float(np.float32(solve(basis, rest, weights)[0])))
        rest = rest - rounded[-1] * x**power
    error = float(np.max(weights * np.abs(rest))) * 2**24
    print(f"{name}: {error:.4f} x 2^-24")
    for power, value in enumerate(rounded):
        show(f"{name.replace(' ', '_')}_q{power}", value)


def show(name: str, value: float) -> None:
    """Print a number as exponentials.h has it."""
    print(f"    {name:16} {float(np.float32(value)).hex()}f")


def split(name: str, value: mp.mpf, bits: int = 24) -> None:
    """Print the first bits of a number and, as another, what is left of it."""
    scale = mp.mpf(2) ** (bits - 1 - int(mp.floor(mp.log(abs(value), 2))))
    high = mp.nint(value * scale) / scale
    show(name, float(high))
    show(f"{name}_rest", float(value - high))


def main() -> None:
    """Print the numbers; errors in half units in the last place of 1, 2^-24."""
    mp.mp.dps = 40
    reach = float(mp.log(2)) / 2 * (1 + 2**-20)  # a little more, for the rounding of the reduction
    fit("exp", lambda r: (mp.expm1(r) - r) / r**2, lambda r: r**2 / mp.exp(r), (-reach, reach), 4)
    fit(
        "log",
        lambda f: (mp.log1p(f) - f) / f**2,
        lambda f: f**2 / mp.log1p(f),
        (-0.25, 0.5),
        8,
    )
    fit(
        "erf near",
        lambda s: mp.erf(mp.sqrt(s)) / mp.sqrt(s) - 1,
        lambda s: mp.sqrt(s) / mp.erf(mp.sqrt(s)),
        (0, 1),
        6,
    )
    fit("erf far", lambda a: -mp.log(mp.erfc(a)), lambda a: mp.erfc(a) / mp.erf(a), (1, 4), 6)
    fit(
        "exp2",
        lambda r: mp.expm1(r * mp.log(2)) / r,
        lambda r: r / mp.mpf(2) ** r,
        (-0.5 - 2**-16, 0.5 + 2**-16),
        5,
    )
    fit(
        "log2",
        lambda s: (2 * mp.atanh(mp.sqrt(s)) / mp.log(2) - 2 * mp.sqrt(s) / mp.log(2)) / s**1.5,
        lambda s: s,
        (2**-40, 0.172**2),
        3,
    )
    show("units_per_log2", 1 / mp.log(2))
    split("ln2", mp.log(2))
    split("short_ln2", mp.log(2), 16)
    split("log2_of_e_twice", 2 / mp.log(2))
    show("root_half", mp.sqrt(mp.mpf(1) / 2))
    show("sixth", mp.mpf(1) / 6)
    show("gelu_linear", mp.sqrt(2 / mp.pi))
    show("gelu_cubic", mp.sqrt(2 / mp.pi) * mp.mpf("0.044715"))


if __name__ == "__main__":
    main()
