"""Where the numbers in csrc/generic/activations.h come from.

tanh needs exp(r) - 1 on |r| <= ln(2)/2, in the form

    exp(r) - 1 = r * (1 + r * Q(r)),      Q(r) = (exp(r) - 1 - r) / r^2

so that the result keeps its relative accuracy at r -> 0. Q is fitted to minimise the largest
relative error of exp(r) - 1. sigmoid needs exp(-r) on |r| <= ln(2)/16 beside 1, in the form

    exp(-r) = 1 - r * (1 - r * Q(-r))

so there Q is fitted to minimise the largest relative error of exp(-r). Both by Lawson's iteration
(weighted least squares whose weights follow the error) at Chebyshev nodes, in mpmath so that
exp(r) - 1 - r loses nothing. The coefficients are then rounded to float32, and the error of the
rounded polynomial is printed beside the ideal one.

    python benchmarks/fit_activations.py
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np

NODES = 400
ITERATIONS = 60
LN2 = float(mp.log(2)) * (1 + 2**-20)  # a little more, for the rounding of the reduction
Weight = Callable[[np.ndarray], np.ndarray]  # of an error in Q, at r


def fit(degree: int, reach: float, weigh: Weight) -> tuple[np.ndarray, float, float]:
    """Return coefficients of Q in float32 from r^0 up, the ideal error and that of the rounded."""
    mp.mp.dps = 40
    r = reach * np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    target = np.array([float((mp.expm1(v) - v) / mp.mpf(v) ** 2) for v in r])
    weight = np.abs(weigh(r))
    basis = np.polynomial.chebyshev.chebvander(r / reach, degree)
    lawson = np.ones(NODES)
    for _ in range(ITERATIONS):
        scale = weight * np.sqrt(lawson)
        solution = np.linalg.lstsq(basis * scale[:, None], target * scale, rcond=None)[0]
        error = weight * np.abs(basis @ solution - target)
        lawson *= error / error.max() + 1e-12
        lawson /= lawson.sum()
    powers = np.polynomial.chebyshev.cheb2poly(solution) / reach ** np.arange(degree + 1)
    rounded = powers.astype(np.float32)
    return rounded, *(
        float(np.max(weight * np.abs(np.polynomial.polynomial.polyval(r, q) - target)) * 2**24)
        for q in (powers, rounded.astype(float))
    )


def show(name: str, value: float) -> None:
    """Print a number as activations.h has it."""
    print(f"    {name:16} {float(np.float32(value)).hex()}f")


def split(value: mp.mpf) -> tuple[float, float]:
    """Return a float32 and what is left of the value, as float32."""
    high = float(np.float32(value))
    return high, float(np.float32(value - mp.mpf(high)))


def main() -> None:
    """Print the numbers; errors in half units in the last place of 1, 2^-24."""
    for degree in (3, 4):
        q, ideal, error = fit(degree, LN2 / 2, lambda r: r**2 / np.expm1(r))
        print(f"tanh, degree {degree} of Q: ideal {ideal:.4f} x 2^-24, rounded {error:.4f} x 2^-24")
    for power, value in enumerate(q):  # of 2 r, and half of exp(2 r) - 1
        show(f"tanh_q{power}", value * 2 ** (power + 1))
    show("half_step", -mp.log(2) / 2)
    show("halves_per_unit", -2 / mp.log(2))
    for degree in (0, 1):
        q, ideal, error = fit(degree, LN2 / 16, lambda r: r**2 / np.exp(r))
        print(f"sigmoid, degree {degree}: ideal {ideal:.4f} x 2^-24, rounded {error:.4f} x 2^-24")
    show("sigmoid_q0", -q[0])  # of 1 - exp(-r)
    show("sigmoid_q1", q[1])
    high, rest = split(-mp.log(2) / 8)
    show("eighth", high)
    show("eighth_rest", -rest)
    show("eighths_per_unit", 8 / mp.log(2))
    eighths = np.exp2(np.arange(8) / 8).astype(np.float32).view(np.uint32) & 0x7FFFFF
    bits = (eighths.astype(np.int64) - (np.arange(8) << 20)) % 2**32
    print("lf_eighths:", ", ".join(f"0x{value:08X}u" for value in bits))


if __name__ == "__main__":
    main()
