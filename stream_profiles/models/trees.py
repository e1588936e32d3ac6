"""Trees and forests of River's: for what is not linear, at many times a linear model's cost.

A tree grows with what it sees, so each has a limit on its depth or its nodes here; River's own limit goes by the memory
its objects happen to take, which is another in every process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from river import drift, forest, tree
from river.tree.base import Branch

from .base import BINARY, MULTICLASS, REGRESSION, Model, RunningModel, shares
from .river_model import RunningRiver
from .scaling import Complete, Standardised

#: River's look at the memory its objects take, put off for ever.
_NEVER = 2**62
_MAX_DEPTH = 30
_CRITERIA = ("info_gain", "gini", "hellinger")
_LEAVES = ("mc", "nb", "nba")


class HoeffdingAdaptiveTree(Model):
    """A tree that splits once enough examples say so, and grows another in place of a branch whose errors have risen.

    Bifet and Gavaldà, "Adaptive Learning from Evolving Data Streams", IDA 2009. A regression's tree predicts the means
    of its leaves.

    Parameters:
        grace_period: Examples in a leaf between two attempts to split it.
        max_depth: Of the tree; with its inputs and classes it bounds the size.
        delta: Chance that a split is not the best one.
        tau: Splits whose merits differ by less than this are as good as each other.
        leaf_prediction: What a leaf says of classes: "mc" their shares, "nb" naive Bayes, "nba" what was better.
        split_criterion: "info_gain", "gini" or "hellinger"; the last is for rare labels.
        bootstrap_sampling: Weigh examples at random, which makes for better trees.
        drift_window_threshold: Examples that a branch grown in place of another must have seen before it replaces it.
        switch_significance: Chance that the one that replaces is not better.
        seed: Of the random numbers.

    Examples:
        >>> model = HoeffdingAdaptiveTree(grace_period=50).start("binary")
        >>> for n in range(2_000):
        ...     model.learn({"x": float(n % 7), "y": float(n % 5)}, label=1 < n % 7 < 5)
        >>> model.predict({"x": 3.0, "y": 0.0}) > 0.8 > 0.2 > model.predict({"x": 6.0, "y": 0.0})
        True
    """

    tasks = frozenset((BINARY, MULTICLASS, REGRESSION))

    def __init__(
        self,
        grace_period: int = 200,
        max_depth: int = 8,
        delta: float = 1e-7,
        tau: float = 0.05,
        leaf_prediction: str = "nba",
        split_criterion: str = "info_gain",
        bootstrap_sampling: bool = True,
        drift_window_threshold: int = 300,
        switch_significance: float = 0.05,
        seed: int = 1,
    ) -> None:
        self.grace_period, self.max_depth, self.delta, self.tau = grace_period, max_depth, delta, tau
        self.leaf_prediction, self.split_criterion = leaf_prediction, split_criterion
        self.bootstrap_sampling, self.drift_window_threshold = bootstrap_sampling, drift_window_threshold
        self.switch_significance = switch_significance
        self.seed = seed
        _check_tree(self)
        self._require(drift_window_threshold >= 1, "drift_window_threshold must be at least 1")
        self._require(0 < switch_significance < 1, "switch_significance must be between 0 and 1")

    def _start(self, task: str, state: Any) -> RunningModel:
        return _RunningTrees(task, lambda: self._tree(task), state)

    def _tree(self, task: str) -> Any:
        common: dict[str, Any] = dict(
            grace_period=self.grace_period,
            max_depth=self.max_depth,
            delta=self.delta,
            tau=self.tau,
            bootstrap_sampling=self.bootstrap_sampling,
            drift_window_threshold=self.drift_window_threshold,
            switch_significance=self.switch_significance,
            memory_estimate_period=_NEVER,
            seed=self.seed,
        )
        if task == REGRESSION:
            return Standardised() | tree.HoeffdingAdaptiveTreeRegressor(
                **common, leaf_prediction="mean", splitter=tree.splitter.QOSplitter()
            )
        return tree.HoeffdingAdaptiveTreeClassifier(
            **common, leaf_prediction=self.leaf_prediction, split_criterion=self.split_criterion
        )


class AdaptiveRandomForest(Model):
    """Trees that each learn from another sample of the examples and the inputs; one whose errors rise is replaced.

    Gomes et al., "Adaptive random forests for evolving data stream classification", Machine Learning 106, 2017.

    Parameters:
        trees: How many.
        max_features: Inputs that a split looks at: a number, a share, "sqrt" or "log2" of them, None for all.
        lambda_value: How often a tree learns from an example, in the mean. Cost goes with it.
        grace_period: Examples in a leaf between two attempts to split it.
        max_depth: Of each tree; with inputs and classes it bounds the size.
        delta: Chance that a split is not the best one.
        tau: Splits whose merits differ by less than this are as good as each other.
        leaf_prediction: What a leaf says of classes: "mc" their shares, "nb" naive Bayes, "nba" what was better. A
            regression's leaf says its mean.
        split_criterion: "info_gain", "gini" or "hellinger"; the last is for rare labels.
        weighted_vote: Whether a tree's vote counts by its accuracy.
        drift_delta: Chance that a tree is replaced for nothing (ADWIN).
        warning_delta: Chance that its successor starts growing for nothing.
        seed: Of the random numbers.

    Examples:
        >>> model = AdaptiveRandomForest(trees=3).start("multiclass")
        >>> for n in range(600):
        ...     model.learn({"x": float(n % 3), "y": float(n % 2)}, label="abc"[n % 3])
        >>> prediction = model.predict({"x": 2.0, "y": 0.0})
        >>> max(prediction, key=prediction.get)
        'c'
    """

    tasks = frozenset((BINARY, MULTICLASS, REGRESSION))

    def __init__(
        self,
        trees: int = 10,
        max_features: int | float | str | None = "sqrt",
        lambda_value: int = 6,
        grace_period: int = 50,
        max_depth: int = 8,
        delta: float = 0.01,
        tau: float = 0.05,
        leaf_prediction: str = "nba",
        split_criterion: str = "info_gain",
        weighted_vote: bool = True,
        drift_delta: float = 0.001,
        warning_delta: float = 0.01,
        seed: int = 1,
    ) -> None:
        self.trees, self.max_features, self.lambda_value = trees, max_features, lambda_value
        self.grace_period, self.max_depth, self.delta, self.tau = grace_period, max_depth, delta, tau
        self.leaf_prediction, self.split_criterion = leaf_prediction, split_criterion
        self.weighted_vote = weighted_vote
        self.drift_delta, self.warning_delta = drift_delta, warning_delta
        self.seed = seed
        _check_tree(self)
        self._require(trees >= 1 and lambda_value >= 1, "trees and lambda_value must be at least 1")
        self._require(0 < drift_delta < 1 and 0 < warning_delta < 1, "drift_delta and warning_delta are chances")
        self._require(
            max_features in (None, "sqrt", "log2")
            or (isinstance(max_features, (int, float)) and not isinstance(max_features, bool) and max_features > 0),
            f"max_features takes a number or a share of the inputs, 'sqrt', 'log2' or None, not {max_features!r}",
        )

    def _start(self, task: str, state: Any) -> RunningModel:
        return _RunningTrees(task, lambda: self._forest(task), state)

    def _forest(self, task: str) -> Any:
        common: dict[str, Any] = dict(
            n_models=self.trees,
            max_features=self.max_features,
            lambda_value=self.lambda_value,
            grace_period=self.grace_period,
            max_depth=self.max_depth,
            delta=self.delta,
            tau=self.tau,
            drift_detector=drift.ADWIN(self.drift_delta),
            warning_detector=drift.ADWIN(self.warning_delta),
            memory_estimate_period=_NEVER,
            seed=self.seed,
        )
        if task == REGRESSION:
            return Standardised() | forest.ARFRegressor(
                **common,
                # Means of the trees' means: a vote by squared error would give the worst tree the most.
                aggregation_method="mean",
                leaf_prediction="mean",
                splitter=tree.splitter.QOSplitter(),
            )
        return forest.ARFClassifier(
            **common,
            leaf_prediction=self.leaf_prediction,
            split_criterion=self.split_criterion,
            disable_weighted_vote=not self.weighted_vote,
        )


class MondrianForest(Model):
    """Trees that divide the inputs at random, and weigh all of their prunings by how well each predicted.

    Mourtada, Gaïffas and Scornet, "AMF: Aggregated Mondrian forests for online learning", Journal of the Royal
    Statistical Society B 83, 2021. It hardly needs tuning; inputs that say nothing cost it more than other trees.
    Inputs are standardised; one that is missing stands at its mean.

    Parameters:
        trees: How many.
        step: Of the weights; 1 is the theory's.
        dirichlet: What each class is counted in advance; a rule of thumb is one divided by the number of classes.
        split_pure: Also divide where all labels are the same. Otherwise a label that turns up late is not told from the
            others around it; but nodes are used up sooner.
        max_nodes: Of each tree: it bounds the size. A tree that has as many goes on counting, and divides no more.
        seed: Of the random numbers.

    Examples:
        >>> model = MondrianForest(trees=5).start("binary")
        >>> for n in range(1_000):
        ...     model.learn({"x": float(n % 7), "y": float(n % 5)}, label=1 < n % 7 < 5)
        >>> model.predict({"x": 3.0, "y": 0.0}) > 0.7 > 0.3 > model.predict({"x": 6.0, "y": 0.0})
        True
    """

    tasks = frozenset((BINARY, MULTICLASS))

    def __init__(
        self,
        trees: int = 10,
        step: float = 1.0,
        dirichlet: float = 0.5,
        split_pure: bool = False,
        max_nodes: int = 500,
        seed: int = 1,
    ) -> None:
        self._require(trees >= 1 and max_nodes >= 1, "trees and max_nodes must be at least 1")
        self._require(step > 0 and dirichlet > 0, "step and dirichlet must be above 0")
        self.trees, self.step, self.dirichlet, self.split_pure = trees, step, dirichlet, split_pure
        self.max_nodes = max_nodes
        self.seed = seed

    def _start(self, task: str, state: Any) -> RunningModel:
        return _RunningTrees(task, self._forest, state)

    def _forest(self) -> Any:
        # No range from the least to the most so far: a tree divides where examples lie outside of what it has seen.
        return Complete() | forest.AMFClassifier(
            n_estimators=self.trees,
            step=self.step,
            dirichlet=self.dirichlet,
            split_pure=self.split_pure,
            max_nodes=self.max_nodes,
            seed=self.seed,
        )


class _RunningTrees(RunningRiver):
    def __init__(self, task: str, fresh: Callable[[], Any], state: list[Any] | None) -> None:
        super().__init__(task, fresh, state)

    def importances(self) -> dict[str, float] | None:
        """Each input's share of the splits; None before the first split."""
        names = self._river.names
        splits = dict.fromkeys(names, 0.0)
        for root in self._roots():
            for node in root.iter_dfs() if isinstance(root, Branch) else ():
                if isinstance(node, Branch):
                    splits[names[node.feature]] += 1.0  # type: ignore[attr-defined]
        return shares(splits)

    def _roots(self) -> Iterable[Any]:
        estimator = self.estimator
        if hasattr(estimator, "steps"):
            estimator = list(estimator.steps.values())[-1]
        trees = [estimator] if hasattr(estimator, "_root") else list(estimator)
        return (each._root for each in trees)


def _check_tree(model: HoeffdingAdaptiveTree | AdaptiveRandomForest) -> None:
    model._require(model.grace_period >= 1, "grace_period must be at least 1")
    model._require(1 <= model.max_depth <= _MAX_DEPTH, f"max_depth must be from 1 to {_MAX_DEPTH}")
    model._require(0 < model.delta < 1 and model.tau >= 0, "delta must be between 0 and 1, and tau at least 0")
    model._require(model.leaf_prediction in _LEAVES, f"leaf_prediction must be one of {', '.join(_LEAVES)}")
    model._require(model.split_criterion in _CRITERIA, f"split_criterion must be one of {', '.join(_CRITERIA)}")
