"""What a model sees of a profile: numbers of its features, transformed as the definition says.

A target names its inputs. A plain name gives all numbers of that feature on a logarithmic scale; a transform says
otherwise, and makes numbers of features that are texts. The numbers are read once, at the prediction, and kept with the
example until its label is known; what a text becomes is kept as its position, so that an example stays small.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from math import copysign, log1p, sqrt
from typing import Any

from .._suggestions import did_you_mean
from ..errors import DefinitionError
from ..features import Feature
from ..features.base import config_of
from ..features.derived import Derivation, Derived
from .base import Inputs

#: Gives what is kept of a source, from the user's slots and the time of the prediction.
_Read = Callable[[dict[str, Any], int], Sequence[float]]
_MAX_BUCKETS = 4_096
_MISSING = -1.0


class Transform:
    """How a feature becomes inputs of a model. The constructor is the configuration.

    Parameters:
        of: A feature's name, for all its numbers, or the name of one of them, like `spend_30d`.
    """

    def __init__(self, of: str) -> None:
        self.of = of

    @property
    def config(self) -> dict[str, Any]:
        return config_of(self)

    def number(self, value: float) -> float:
        """A number of the feature, as the model sees it."""
        return value

    def __repr__(self) -> str:
        return f'{type(self).__name__}("{self.of}")'


class Log(Transform):
    """Numbers on a logarithmic scale: log(1 + x), and -log(1 - x) below 0. What a plain name in `inputs` stands for.

    Examples:
        >>> Log("spend").number(0.0)
        0.0
    """

    def number(self, value: float) -> float:
        return _log(value)


class Sqrt(Transform):
    """Numbers on a square root's scale; below 0, its mirror image.

    Examples:
        >>> Sqrt("spend").number(-9.0)
        -3.0
    """

    def number(self, value: float) -> float:
        return copysign(sqrt(abs(value)), value)


class Raw(Transform):
    """Numbers as they are."""


class Clip(Transform):
    """Numbers cut to a range.

    Parameters:
        of: A feature's name, or that of one of its numbers.
        low, high: The range.

    Examples:
        >>> Clip("price", 0, 100).number(250.0)
        100.0
    """

    def __init__(self, of: str, low: float, high: float) -> None:
        super().__init__(of)
        if not low < high:
            raise DefinitionError(f"{self!r}: low must be below high")
        self.low, self.high = float(low), float(high)

    def number(self, value: float) -> float:
        return min(max(value, self.low), self.high)


class Standardise(Transform):
    """Numbers less their mean, in standard deviations, by the examples the partition's model has learned from so far.

    For models that do not do so themselves; `LogisticRegression` and the other linear ones do.
    """


class OneHot(Transform):
    """A feature that is a text as one input for each of the listed values, and one for any other.

    Parameters:
        of: A feature's name that publishes a text, such as Last, First, MostFrequent, Cross.
        values: The texts that get an input of their own.
    """

    def __init__(self, of: str, values: Iterable[str]) -> None:
        super().__init__(of)
        self.values = [str(value) for value in values]
        if not self.values or len(set(self.values)) != len(self.values):
            raise DefinitionError(f"{self!r}: values= takes a list of different texts")
        self._positions = {value: float(position) for position, value in enumerate(self.values)}

    def names(self, feature: str) -> list[str]:
        return [*(f"{feature}={value}" for value in self.values), f"{feature}=other"]

    def position(self, value: str) -> float:
        return self._positions.get(value, float(len(self.values)))


class Hash(Transform):
    """A feature that is a text as a fixed number of inputs, by the hashing trick: for texts of many kinds like items.

    Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009; without signs, as one text sets
    one input.

    Parameters:
        of: A feature's name that publishes a text.
        buckets: Number of inputs, up to 4,096.
    """

    def __init__(self, of: str, buckets: int = 32) -> None:
        super().__init__(of)
        if not 2 <= buckets <= _MAX_BUCKETS:
            raise DefinitionError(f"{self!r}: buckets must be from 2 to {_MAX_BUCKETS:,}")
        self.buckets = buckets

    def names(self, feature: str) -> list[str]:
        return [f"{feature}#{bucket}" for bucket in range(self.buckets)]

    def position(self, value: str) -> float:
        return float(_bucket(value, self.buckets))


@lru_cache(maxsize=16_384)
def _bucket(value: str, buckets: int) -> int:
    return int.from_bytes(blake2b(value.encode(), digest_size=8).digest(), "little") % buckets


Spec = str | Transform


class CompiledInputs:
    """The inputs of one target, bound to the features of its definition.

    Parameters:
        owner: Whose inputs they are, for messages.
        specs: Names and transforms; None for the numbers of all features that have any.
        features: The definition's.
        types: Event types of which each is an input too: whether the event was of that type.
        own: Names of inputs that the target itself knows, not a feature.

    Raises:
        DefinitionError: a name is no feature, or a feature has no numbers, or no text.
    """

    def __init__(
        self,
        owner: object,
        specs: Sequence[Spec] | None,
        features: Sequence[Feature],
        types: Sequence[str] = (),
        own: Sequence[str] = (),
    ) -> None:
        self._features = {feature.name: feature for feature in features}
        chosen = self._default(features) if specs is None else list(specs)
        #: Keys of the features that are read, as they identify what was learned; in the definition's order.
        self.keys: list[str] = []
        self._reads: list[_Read] = []
        self._numbers: list[Callable[[float], float]] = []
        names: list[str] = []
        #: Position among what is kept, and how many inputs it becomes, of each text.
        self._texts: list[tuple[int, int]] = []
        #: Names of the inputs that the learner standardises.
        self.standardised: list[str] = []
        transforms = [Log(spec) if isinstance(spec, str) else spec for spec in chosen]
        for transform in transforms:
            if not isinstance(transform, Transform):
                raise DefinitionError(
                    f"{owner!r}: inputs takes names and transforms such as Log(name), not {transform!r}"
                )
        # In the definition's order: that is how those of stored examples lie.
        order = {feature.name: number for number, feature in enumerate(features)}
        transforms.sort(key=lambda transform: order[self._find(owner, transform.of)[0].name])
        used = [self._add(owner, transform, names) for transform in transforms]
        made_of = {each.name: each for feature in used for each in self._made_of(feature)}
        self.keys = [each.key for each in sorted(made_of.values(), key=lambda feature: order[feature.name])]
        if not names:
            raise DefinitionError(f"{owner!r} has no inputs: the definition has no feature with numbers")
        names += own
        self._packing = struct.Struct(f"<{len(self._numbers) + len(own)}d")
        # A type that is just left out when it is not the event's would look like an input that never changes.
        self._types = {type: tuple(float(type == other) for other in types) for type in types}
        self.names = (*names, *(f"type={type}" for type in types))
        twice = next((name for name, count in Counter(self.names).items() if count > 1), None)
        if twice is not None:
            raise DefinitionError(f"{owner!r}: the input {twice!r} is given twice")
        self._all_logs = all(number == _log for number in self._numbers)

    @property
    def packed_bytes(self) -> int:
        return self._packing.size

    def read(self, slots: dict[str, Any], now: int, own: Sequence[float] = ()) -> list[float]:
        """What is kept of a user as of `now`: numbers after their transforms, positions of texts, the target's own."""
        numbers: list[float] = []
        for read in self._reads:
            numbers += read(slots, now)
        if self._all_logs:
            kept = [log1p(x) if x >= 0.0 else -log1p(-x) for x in numbers]
        else:
            kept = [transform(x) for transform, x in zip(self._numbers, numbers, strict=True)]
        return [*kept, *own] if own else kept

    def expand(self, kept: Sequence[float], event_type: str) -> Inputs:
        """The inputs of what was kept."""
        types = self._types.get(event_type, ())
        if not self._texts:
            return dict(zip(self.names, [*kept, *types], strict=True))
        numbers: list[float] = []
        done = 0
        for at, width in self._texts:
            numbers += kept[done:at]
            hot = [0.0] * width
            if kept[at] >= 0.0:
                hot[int(kept[at])] = 1.0
            numbers += hot
            done = at + 1
        return dict(zip(self.names, [*numbers, *kept[done:], *types], strict=True))

    def pack(self, kept: Sequence[float]) -> bytes:
        return self._packing.pack(*kept)

    def unpack(self, packed: bytes) -> Sequence[float]:
        return self._packing.unpack(packed)

    @staticmethod
    def _default(features: Sequence[Feature]) -> list[Spec]:
        return [feature.name for feature in features if feature.input_names()]

    def _made_of(self, feature: Feature) -> list[Feature]:
        """A feature and everything that it is made of."""
        sources = feature.sources if isinstance(feature, Derived) else ()
        return [
            feature,
            *(each for name in sources if name in self._features for each in self._made_of(self._features[name])),
        ]

    def _add(self, owner: object, transform: Transform, names: list[str]) -> Feature:
        feature, only = self._find(owner, transform.of)
        if isinstance(transform, OneHot | Hash):
            if only is not None:
                raise DefinitionError(
                    f"{owner!r}: {transform!r} takes a feature that is a text, not one of its numbers"
                )
            if feature.input_names() and type(feature).category is Feature.category:
                raise DefinitionError(
                    f"{owner!r}: {transform!r} takes a feature that is a text, and {feature!r} is numbers"
                )
            own = transform.names(feature.name)
            self._texts.append((len(self._numbers), len(own)))
            self._reads.append(self._position_of(feature, transform))
            self._numbers.append(_as_it_is)
            names += own
            return feature
        available = feature.input_names()
        if not available:
            raise DefinitionError(
                f"{owner!r}: {feature!r} has no numbers to give to a model; a feature that is a text goes in as "
                f"OneHot({feature.name!r}, values=[...]) or Hash({feature.name!r})"
            )
        read = self._numbers_of(feature)
        if only is not None:
            index = available.index(only)
            self._reads.append(lambda slots, now: (read(slots, now)[index],))
            available = (only,)
        else:
            self._reads.append(read)
        self._numbers += [transform.number if type(transform) is not Log else _log] * len(available)
        names += available
        if isinstance(transform, Standardise):
            self.standardised += available
        return feature

    def _find(self, owner: object, name: str) -> tuple[Feature, str | None]:
        """The feature of that name, or the one that has a number of that name, and which."""
        if name in self._features:
            return self._features[name], None
        for feature in self._features.values():
            if name in feature.input_names():
                return feature, name
        raise DefinitionError(
            f"{owner!r}: inputs names {name!r}, which is no feature of this definition; "
            f"{did_you_mean(name, self._features)}"
        )

    def _numbers_of(self, feature: Feature) -> _Read:
        if isinstance(feature, Derived):
            values = self._values_of(Derivation(feature, self._features))
            return lambda slots, now: feature.numbers(values(slots, now))
        key, inputs = feature.key, feature.inputs
        return lambda slots, now: inputs(slots.get(key), now)

    def _position_of(self, feature: Feature, transform: OneHot | Hash) -> _Read:
        if isinstance(feature, Derived):
            values = self._values_of(Derivation(feature, self._features))

            def text(slots: dict[str, Any], now: int) -> Any:
                return feature.derive(values(slots, now))
        else:
            key = feature.key

            def text(slots: dict[str, Any], now: int) -> Any:
                state = slots.get(key)
                return None if state is None else feature.category(state, now)

        def position(slots: dict[str, Any], now: int) -> Sequence[float]:
            value = text(slots, now)
            return (_MISSING if type(value) is not str else transform.position(value),)

        return position

    @staticmethod
    def _values_of(derivation: Derivation) -> Callable[[dict[str, Any], int], dict[str, Any]]:
        """The values of what a derived feature is made of, as of a moment."""
        stored = [(name, feature.key, feature.snapshot) for name, feature in derivation.stored.items()]

        def values(slots: dict[str, Any], now: int) -> dict[str, Any]:
            published = {name: snapshot(slots[key]) for name, key, snapshot in stored if key in slots}
            return derivation.values(published, now)

        return values


def _as_it_is(value: float) -> float:
    return value


def _log(value: float) -> float:
    return log1p(value) if value >= 0.0 else -log1p(-value)
