"""Where does a sequence model fail: by length, by gap in time, by anything that you know of it.

    from lstm_fast import evaluate

    predictor = evaluate.classifier(lstm, (weight, bias), labels)  # or any function of the steps
    predictor = evaluate.classifier(vad.silero(), labels=(False, True))  # or a whole model
    result = evaluate.run(predictor, sequences, evaluate.by_steps([20, 50, 100]))
    print(result.report())                  # accuracy, latency and confidence by cohort, and which
    result.draw("cohorts.png")              # cohorts stand out from the rest
    result.write_rows("rows.csv")           # generated_value and expected_value of each sequence

`compare` sets two predictors side by side on the same input windows, and `drift` says whether the
confidences of two releases or two months are still the same. Predictors may be anything that can be
called, and sequences an iterator: of each some 50 bytes are kept.

Intervals and tests are SciPy's; the extra `evaluate` installs it, with what draws tables, pictures
and progress bars.
"""

from .buckets import Buckets, by, by_gap, by_steps
from .classifiers import Classifier
from .cohorts import Cohort, Confidence, Latency, StandOut
from .comparisons import Comparison, Pair, compare, compare_runs
from .costs import Cost
from .drifts import CohortDrift, Drift, drift
from .evaluations import Evaluation
from .predictors import Prediction, Predictor, timed, windowed
from .runs import run
from .sequences import Label, Labelled
from .statistics import PSI_CHANGED, PSI_SHIFTED, Interval, Psi
from .whole_models import ModelClassifier, classifier

__all__ = [
    "PSI_CHANGED",
    "PSI_SHIFTED",
    "Buckets",
    "Classifier",
    "Cohort",
    "CohortDrift",
    "Comparison",
    "Confidence",
    "Cost",
    "Drift",
    "Evaluation",
    "Interval",
    "Label",
    "Labelled",
    "Latency",
    "ModelClassifier",
    "Pair",
    "Prediction",
    "Predictor",
    "Psi",
    "StandOut",
    "by",
    "by_gap",
    "by_steps",
    "classifier",
    "compare",
    "compare_runs",
    "drift",
    "run",
    "timed",
    "windowed",
]
