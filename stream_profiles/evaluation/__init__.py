"""How good a definition's predictions are, measured on files of events: the same code that runs live, observed.

Every prediction is scored before the model learns from its example, so nothing leaks from the future. `evaluator` runs
the definition and gathers the examples, `scores` and `report` make figures of them, `words`, `tables`, `plots` and
`page` show them.
"""

from .evaluator import Evaluator
from .report import EvaluationReport, TargetReport
from .run import Evaluated, EvaluateOptions, evaluate

__all__ = ["EvaluateOptions", "Evaluated", "EvaluationReport", "Evaluator", "TargetReport", "evaluate"]
