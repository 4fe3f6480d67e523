"""Where the coefficients in csrc/generic/activations.h come from.

Both activations need exp(r) on |r| <= ln(2)/2, in the form

    exp(r) - 1 = r * (1 + r * Q(r)),      Q(r) = (exp(r) - 1 - r) / r^2

so that the result keeps its relative accuracy at r -> 0. Q is fitted to minimise the largest
relative error of exp(r) - 1: Lawson's iteration (weighted least squares whose weights follow the
error) at Chebyshev nodes, in mpmath so that exp(r) - 1 - r loses nothing. The coefficients are then
rounded to float32, and the error of the rounded polynomial is printed beside the ideal one.

    python benchmarks/fit_activations.py
"""

from __future__ import annotations

import mpmath as mp
import numpy as np

DEGREE = 4  # of Q; 3 would leave an error of 7.6 x 2^-24, 4 leaves 0.28 x 2^-24
NODES = 400
ITERATIONS = 60
HALF_LN2 = float(mp.log(2) / 2) * (1 + 2**-20)  # a little more, for the rounding of the reduction


def fit(degree: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return (coefficients of Q from r^0 up, nodes, target Q, weight of an error in Q)."""
    mp.mp.dps = 40
    r = HALF_LN2 * np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    target = np.array([float((mp.expm1(v) - v) / mp.mpf(v) ** 2) for v in r])
    weight = np.abs(r**2 / np.expm1(r))
    basis = np.polynomial.chebyshev.chebvander(r / HALF_LN2, degree)
    lawson = np.ones(NODES)
    for _ in range(ITERATIONS):
        scale = weight * np.sqrt(lawson)
        solution = np.linalg.lstsq(basis * scale[:, None], target * scale, rcond=None)[0]
        error = weight * np.abs(basis @ solution - target)
        lawson *= error / error.max() + 1e-12
        lawson /= lawson.sum()
    powers = np.polynomial.chebyshev.cheb2poly(solution)
    return powers / HALF_LN2 ** np.arange(degree + 1), r, target, weight


def largest_error(q: np.ndarray, r: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    """Largest relative error of exp(r) - 1, in float32 half-ulps at 1 (2^-24)."""
    return float(np.max(weight * np.abs(np.polynomial.polynomial.polyval(r, q) - target)) * 2**24)


def main() -> None:
    """Print the coefficients."""
    for degree in (3, DEGREE):
        q, *rest = fit(degree)
        rounded = q.astype(np.float32)
        print(
            f"degree {degree}: ideal {largest_error(q, *rest):.4f} x 2^-24, "
            f"rounded {largest_error(rounded.astype(float), *rest):.4f} x 2^-24"
        )
        for power, value in enumerate(rounded):
            print(f"    r^{power}: {float(value).hex()}f  {value!r}")
    ln2_hi = np.float32(np.log(2))
    ln2_lo = np.float32(mp.log(2) - mp.mpf(float(ln2_hi)))
    print("ln2 =", float(ln2_hi).hex(), "+", float(ln2_lo).hex())
    print("log2(e) =", float(np.float32(1 / mp.log(2))).hex())


if __name__ == "__main__":
    main()
