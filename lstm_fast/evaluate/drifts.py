"""Confidence drift: has the distribution of confidences changed, and by how much?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._arguments import is_integer
from ._options import check_number
from ._tables import Table, render
from ._texts import BAD, NONE, pvalue_text
from .evaluations import Evaluation
from .records import Records
from .statistics import PSI_CHANGED, Psi, holm, ks, psi

__all__ = ["CohortDrift", "Drift", "drift"]

Confidences: TypeAlias = "Evaluation | Mapping[str, Any] | Any"
Values: TypeAlias = NDArray[np.float64]
Key: TypeAlias = tuple[str, str]  # bucket, cohort

KS_SIZE = 0.1
MIN_COUNT = 30


@dataclass(frozen=True)
class CohortDrift:
    """What became of the confidences of one cohort.

    Attributes:
        bucket, name: the way to part, and the cohort's name in it; "all" for everything.
        count_before, count_after, mean_before, mean_after: of the confidences.
        psi: the population stability index, its bins, p-value and what it exceeds by chance; None
            where there were too few to test.
        ks: the Kolmogorov-Smirnov statistic; None likewise.
        psi_pvalue, ks_pvalue: adjusted by Holm over both tests of all cohorts.
        psi_drifted, ks_drifted: whether it is significant, and of a size that matters.

    Example:
        >>> import numpy as np
        >>> before = np.linspace(0.5, 1, 1000)
        >>> everything = drift(before, before).cohorts[0]
        >>> everything.drifted, everything.count_after, everything.ks
        (False, 1000, 0.0)
    """

    bucket: str
    name: str
    count_before: int
    count_after: int
    mean_before: float
    mean_after: float
    psi: Psi | None
    ks: float | None
    psi_pvalue: float | None
    ks_pvalue: float | None
    psi_drifted: bool
    ks_drifted: bool

    @property
    def drifted(self) -> bool:
        """Whether either measure says so."""
        return self.psi_drifted or self.ks_drifted

    def to_json(self) -> dict[str, Any]:
        """Return it as numbers, strings and dicts."""
        result = asdict(self)
        result["psi"] = None if self.psi is None else self.psi._asdict()
        return {**result, "drifted": self.drifted}


@dataclass(frozen=True)
class Drift:
    """What became of the confidences; made by `drift`.

    Attributes:
        cohorts: everything first, and then each cohort that both have.
        only_before, only_after: cohorts (bucket, name) that only one of them has.
        psi_size, ks_size, alpha, min_count: the options.

    Example:
        >>> import numpy as np
        >>> same = np.linspace(0.5, 1, 1000)
        >>> found = drift({"old": same, "new": same}, {"old": same, "new": same**4})
        >>> [cohort.name for cohort in found.drifted]
        ['all', 'new']
    """

    cohorts: list[CohortDrift]
    only_before: list[Key]
    only_after: list[Key]
    psi_size: float
    ks_size: float
    alpha: float
    min_count: int

    @property
    def drifted(self) -> list[CohortDrift]:
        """Those that have drifted."""
        return [cohort for cohort in self.cohorts if cohort.drifted]

    def to_json(self) -> dict[str, Any]:
        """Return what was found as numbers, strings and dicts."""
        return {**vars(self), "cohorts": [cohort.to_json() for cohort in self.cohorts]}

    def report(self, rich: bool | None = None, width: int | None = None) -> str:
        """Return it as text; see `Evaluation.report`."""
        return _report(self, rich, width)

    def __str__(self) -> str:
        return self.report(rich=False)


def drift(
    before: Confidences,
    after: Confidences,
    *,
    psi_size: float = PSI_CHANGED,
    ks_size: float = KS_SIZE,
    bins: int = 10,
    alpha: float = 0.05,
    min_count: int = MIN_COUNT,
) -> Drift:
    """Compare the confidences of two releases, or of two spans of time.

    A cohort has drifted where a test says that the distribution has changed, and the measure says
    that it has changed by enough: with many sequences every change is significant, and with few a
    large measure may be chance. Where nothing has changed, the probability that any cohort is said
    to have drifted is alpha at most (that of the PSI's test, for which it is an approximation,
    included).

    Args:
        before: an evaluation (`Evaluation.subset` is one of a single release or month); a mapping
            from cohort to confidences; or confidences, shape (N,), for which no gold labels are
            needed.
        after: the same of the other release or month.
        psi_size: the population stability index that matters. 0.1 is where practice since Lewis
            (1994) sees some change, and 0.25 (`PSI_SHIFTED`) where it sees a large one.
        ks_size: the Kolmogorov-Smirnov statistic that matters. There is no convention for it; 0.1
            is a tenth of all sequences having moved from one side of some confidence to the other.
        bins: of the population stability index at most; those who compare it with their own figures
            need the same number.
        alpha: see above.
        min_count: cohorts with fewer confidences on either side are shown, and not tested.

    Raises:
        ImportError: SciPy is not installed.
        TypeError, ValueError: confidences are missing or not finite, or an option makes no sense.

    Example:
        >>> import numpy as np
        >>> before = np.linspace(0.5, 1, 1000)
        >>> [one.drifted for one in drift(before, before**4).cohorts]
        [True]
    """
    for what, value in (("alpha", alpha), ("psi_size", psi_size), ("ks_size", ks_size)):
        check_number(value, what)
    for what, value in (("bins", bins), ("min_count", min_count)):
        if not is_integer(value):
            raise TypeError(f"{what} must be an integer, found {value!r}")
    if not 0 < alpha < 1 or psi_size < 0 or not 0 <= ks_size <= 1 or bins < 2 or min_count < 2:
        raise ValueError(
            "expected alpha between 0 and 1, psi_size of 0 or more, ks_size from 0 to 1, and bins "
            f"and min_count of 2 or more, found {alpha}, {psi_size}, {ks_size}, {bins}, {min_count}"
        )
    old, new = _by_cohort(before, "before"), _by_cohort(after, "after")
    # a bucket that is the very difference between the two, such as the month, has none in common
    common = {bucket for bucket, name in old.keys() & new.keys()}
    shared = [key for key in old if key in new]
    measured = [_measure(key, old[key], new[key], bins, alpha, min_count) for key in shared]
    tested = [m for m in measured if m.psi is not None]
    adjusted = holm([p for m in tested for p in (m.psi_pvalue, m.ks_pvalue) if p is not None])
    pairs = iter(zip(adjusted[::2], adjusted[1::2], strict=True))
    cohorts = [
        m if m.psi is None else _judged(m, next(pairs), psi_size, ks_size, alpha) for m in measured
    ]
    return Drift(
        cohorts,
        [key for key in old if key not in new and key[0] in common],
        [key for key in new if key not in old and key[0] in common],
        psi_size,
        ks_size,
        alpha,
        min_count,
    )


def _by_cohort(given: Confidences, what: str) -> dict[Key, Values]:
    """Return the confidences of everything, and of each cohort.

    Raises:
        TypeError, ValueError: there are none, or they are not finite numbers.
    """
    if isinstance(given, Evaluation):
        records = given.records
        found = {("all", "all"): _given(records)}
        for bucket, (texts, codes) in records.cohorts.items():
            for code, text in enumerate(texts):
                found[bucket, text] = _given(records.select(codes == code))
        found = {key: values for key, values in found.items() if len(values)}
        if not found:
            raise ValueError(f"{what}: the predictor {given.name} gave no confidence")
        return found
    if isinstance(given, Mapping):
        cohorts = {str(name): _values(values, what) for name, values in given.items()}
        if not cohorts:
            raise ValueError(f"{what}: there is no cohort")
        everything = np.concatenate(list(cohorts.values()))
        return {("all", "all"): everything, **{("cohort", n): v for n, v in cohorts.items()}}
    return {("all", "all"): _values(given, what)}


def _given(records: Records) -> Values:
    values: Values = records.confidence[~np.isnan(records.confidence)]
    return values


def _values(given: Any, what: str) -> Values:
    values = np.asarray(given)
    if values.ndim != 1 or values.dtype.kind not in "iuf" or not len(values):
        found = f"shape {values.shape} and dtype {values.dtype}"
        if values.ndim == 0:
            found = f"{type(given).__name__}, which is not an evaluation, mapping or list either"
        raise TypeError(f"{what}: expected confidences of shape (N,), found {found}")
    if not np.isfinite(values).all():
        raise ValueError(f"{what}: confidence {int(np.argmin(np.isfinite(values)))} is not finite")
    return values.astype(np.float64)


def _measure(
    key: Key, old: Values, new: Values, bins: int, alpha: float, min_count: int
) -> CohortDrift:
    """Return both measures with the p-values that are theirs alone."""
    index, statistic, pvalue = None, None, None
    if min(len(old), len(new)) >= min_count:
        index = psi(old, new, bins, alpha)
        statistic, pvalue = ks(old, new)
    return CohortDrift(
        *key,
        len(old),
        len(new),
        float(old.mean()),
        float(new.mean()),
        index,
        statistic,
        None if index is None else index.pvalue,
        pvalue,
        False,
        False,
    )


def _judged(
    measured: CohortDrift,
    pvalues: tuple[float, float],
    psi_size: float,
    ks_size: float,
    alpha: float,
) -> CohortDrift:
    """Return it with adjusted p-values and the verdicts."""
    assert measured.psi is not None  # those that were tested have both
    assert measured.ks is not None
    psi_pvalue, ks_pvalue = pvalues
    return CohortDrift(
        **{
            **vars(measured),
            "psi_pvalue": psi_pvalue,
            "ks_pvalue": ks_pvalue,
            "psi_drifted": psi_pvalue <= alpha and measured.psi.value >= psi_size,
            "ks_drifted": ks_pvalue <= alpha and measured.ks >= ks_size,
        }
    )


def _report(result: Drift, rich: bool | None, width: int | None) -> str:
    """Return a table of all cohorts, and those that drifted."""
    columns = ["cohort", "before", "after", "mean before", "mean after"]
    columns += ["PSI", "by chance", "p", "KS", "p", "verdict"]
    table = Table("Drift of confidence", columns)
    for number, cohort in enumerate(result.cohorts):
        if cohort.drifted:
            table.marked[number] = BAD
        table.rows.append(_drift_row(cohort))
    lines = [
        f"DRIFTED: {_place(c)}: mean {c.mean_before:.3f} to {c.mean_after:.3f}"
        for c in result.drifted
    ]
    if not lines:
        lines = [
            f"no drift: nowhere PSI of {result.psi_size:g} or KS of {result.ks_size:g} with p at "
            f"most {result.alpha:g}"
        ]
    for when, keys in (("before", result.only_before), ("after", result.only_after)):
        if keys:
            lines.append(f"only {when}: " + ", ".join(f"{bucket} {name}" for bucket, name in keys))
    return render([table], lines, rich, width)


def _place(cohort: CohortDrift) -> str:
    return "all" if cohort.bucket == "all" else f"{cohort.bucket} {cohort.name}"


def _drift_row(cohort: CohortDrift) -> list[str]:
    row = [_place(cohort), str(cohort.count_before), str(cohort.count_after)]
    row += [f"{cohort.mean_before:.3f}", f"{cohort.mean_after:.3f}"]
    if cohort.psi is None or cohort.ks is None:
        return [*row, *[NONE] * 5, "too few"]
    row += [f"{cohort.psi.value:.3f}", f"{cohort.psi.chance:.3f}", pvalue_text(cohort.psi_pvalue)]
    row += [f"{cohort.ks:.3f}", pvalue_text(cohort.ks_pvalue)]
    return [*row, "drifted" if cohort.drifted else ""]
