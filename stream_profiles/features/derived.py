"""Features made of other features: they keep nothing of their own.

The updater computes one anew when a feature it is made of has changed, from the published values of those features. So
a reader can do the same, and it never disagrees with what it is made of. That is also how it gets to a later time: what
it is made of is brought there, and it is computed anew.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any

from ..contracts import Event
from ..errors import DefinitionError
from .base import Declared, Feature, State, Value, text

#: Published values by the field's name.
Values = Mapping[str, Value]


class Derived(Feature):
    """A feature that is computed from the published values of others.

    A subclass sets `sources` in its constructor, and implements `derive(values)`: the value, from those of `sources` as
    far as they have one, all as of one moment; None for none. Once there is a value there has to be one for good, as a
    change of a profile has no way to say that there is none any more: `{"ratio": None}`, say.
    """

    order_free = True
    #: Names of the fields it is made of.
    sources: tuple[str, ...]

    def __init__(self, name: str) -> None:
        super().__init__(name)

    @abstractmethod
    def derive(self, values: Values) -> Value | None:
        raise NotImplementedError

    def numbers(self, values: Values) -> tuple[float, ...]:
        """The numbers of `input_names`, from the sources' values as of the moment of the prediction."""
        return ()

    def update(self, state: State | None, event: Event) -> State | None:
        return None

    def snapshot(self, state: State) -> Value:
        raise TypeError(f"{self!r} has no state")

    @property
    def max_bytes(self) -> int:
        return 0


def path_reader(owner: object, path: str) -> tuple[str, Callable[[Values], Any]]:
    """How to read a part of a profile: the name of the field, and a function of the published values.

    A path is a field's name, or a name and keys with dots between, like `views.7d` or `visits.mean_seconds`.

    Raises:
        DefinitionError: it is no path.
    """
    if not isinstance(path, str) or not path or not all(path.split(".")):
        raise DefinitionError(f"{owner!r}: {path!r} is no part of a profile; write it like 'views' or 'views.7d'")
    field, *keys = path.split(".")

    def read(values: Values) -> Any:
        value: Any = values.get(field)
        for key in keys:
            if not isinstance(value, Mapping):
                return None
            value = value.get(key)
        return value

    return field, read


class Derivation:
    """A derived feature with everything that it is made of, down to the fields that keep state.

    Parameters:
        derived: The feature.
        fields: What it can be made of, by name: others are left out.
    """

    def __init__(self, derived: Derived, fields: Mapping[str, Declared]) -> None:
        self.derived = derived
        #: The fields that keep state.
        self.stored: dict[str, Any] = {}
        self._steps: list[Derived] = []
        self._add(derived, fields)

    def _add(self, derived: Derived, fields: Mapping[str, Declared]) -> None:
        for name in derived.sources:
            field = fields.get(name)
            if not isinstance(field, Derived):
                if field is not None:
                    self.stored[name] = field
            elif field not in self._steps:
                self._add(field, fields)
                self._steps.append(field)

    def values(self, published: Values, now: int | None = None) -> dict[str, Value]:
        """The values of everything it is made of, as of one moment.

        Parameters:
            published: The published values of `stored`, as far as they have one; there may be others.
            now: The moment (ms); the latest that one of the values stands for when not given.
        """
        values = {name: published[name] for name in self.stored if name in published}
        moments = [value["at"] for value in values.values() if isinstance(value, dict) and "at" in value]
        if moments:
            at = max(moments) if now is None else now
            values = {name: self.stored[name].advance(value, at) for name, value in values.items()}
        for step in self._steps:
            value = step.derive(values)
            if value is not None:
                values[step.name] = value
        return values

    def value(self, published: Values, now: int | None = None) -> Value | None:
        """The feature's value; parameters as for `values`."""
        return self.derived.derive(self.values(published, now))


class Ratio(Derived):
    """One number of a profile divided by another: carts per view, or this week against the month (a trend).

    Published: `{"ratio": number}`, with `at` (ms), the moment it stands for, where one of the two changes by the mere
    passing of time; `null` while the divisor is 0 or either is no number, and nothing while a field has no value yet.

    Parameters:
        name: Field name.
        of: The dividend: a path in the profile, like `purchases.total` or `views.1d`.
        to: The divisor.

    Examples:
        >>> from stream_profiles import Ratio
        >>> Ratio("buys_per_view", of="purchases.total", to="views.total").derive(
        ...     {"purchases": {"total": 1}, "views": {"total": 4}}
        ... )
        {'ratio': 0.25}
    """

    def __init__(self, name: str, *, of: str, to: str) -> None:
        super().__init__(name)
        self.of, self.to = of, to
        (dividend, self._dividend), (divisor, self._divisor) = path_reader(self, of), path_reader(self, to)
        self.sources = tuple(dict.fromkeys((dividend, divisor)))

    def derive(self, values: Values) -> Value | None:
        sources = [values.get(name) for name in self.sources]
        if None in sources:
            return None
        dividend, divisor = self._dividend(values), self._divisor(values)
        value: dict[str, Any] = {"ratio": None}
        if isinstance(dividend, (int, float)) and isinstance(divisor, (int, float)) and divisor:
            ratio = dividend / divisor
            # What fades faster than the rest leaves a number that is no longer one.
            value["ratio"] = ratio if isfinite(ratio) else None
        moments = [source["at"] for source in sources if isinstance(source, dict) and "at" in source]
        if moments:
            value["at"] = max(moments)
        return value

    def input_names(self) -> tuple[str, ...]:
        return (f"{self.name}_ratio",)

    def numbers(self, values: Values) -> tuple[float, ...]:
        value = self.derive(values)
        return ((value and value["ratio"]) or 0.0,)


class Cross(Derived):
    """Two or more categories of a profile as one: country and device, as `PT|phone`.

    Published: the texts joined by `|`, an empty one for what a field does not tell; nothing while a field has no value
    yet.

    Parameters:
        name: Field name.
        of: The fields whose texts are joined: each one that publishes a text, or a path to one.

    Examples:
        >>> from stream_profiles import Cross
        >>> Cross("place", of=("country", "device")).derive({"country": "PT", "device": "phone"})
        'PT|phone'
    """

    def __init__(self, name: str, *, of: Iterable[str]) -> None:
        super().__init__(name)
        self.of = [of] if isinstance(of, str) else list(of)
        if len(self.of) < 2:
            raise DefinitionError(f"{self!r}: of= takes two or more fields")
        readers = [path_reader(self, path) for path in self.of]
        self.sources = tuple(dict.fromkeys(field for field, _ in readers))
        self._readers = [read for _, read in readers]

    def derive(self, values: Values) -> Value | None:
        if any(values.get(name) is None for name in self.sources):
            return None
        parts = [read(values) for read in self._readers]
        if any(isinstance(part, (dict, list, bytes)) for part in parts):
            return None
        return text("|".join("" if part is None else str(part) for part in parts))
