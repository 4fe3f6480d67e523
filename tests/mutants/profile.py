"""A plugin for pytest: Hypothesis draws the same each time, and shrinks nothing."""

from hypothesis import Phase, settings

settings.register_profile(
    "mutants",
    deadline=None,
    max_examples=60,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
