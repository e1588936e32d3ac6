"""What every feature is, so that a new family is one file that nothing else needs to know about.

A feature keeps a small state per user and answers two questions: how does an event change it, and what is its value.
It never reads a clock and never does I/O. The updater decides which events a feature sees; the codec stores its state.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable
from functools import cached_property
from operator import attrgetter
from typing import Any, ClassVar

import msgspec

from .. import expressions
from ..contracts import MAX_ID_LENGTH, Event
from ..errors import DefinitionError

#: What a feature may keep: plain lists, dicts, numbers, strings and bytes, which the codec stores as they are.
State = Any
#: What a feature publishes: anything JSON can hold, or bytes for a vector.
Value = Any
Getter = Callable[[Event], Any]
Update = Callable[[Any, Event], Any]

#: The most bytes one string of an event takes in a stored state: 4 per character and a header.
MAX_TEXT_BYTES = 4 * MAX_ID_LENGTH + 5
#: The most bytes one number takes in a stored state.
NUMBER_BYTES = 9

#: A sum of as many numbers as there can be events stays finite, so that nothing learned from it turns into nan.
_MAX_NUMBER = 1e100

_EVENT_FIELDS = tuple(field.name for field in msgspec.structs.fields(Event) if field.name != "properties")
_VIRTUAL_FIELDS = ("amount",)


class Declared:
    """Something a definition declares by name. Its constructor's parameters are its configuration."""

    name: str
    #: Parameters that a later release added. Left at their default they are no part of `key`: state that was stored
    #: before there was such a parameter is found again.
    added_parameters: ClassVar[frozenset[str]] = frozenset()

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, JSON-able."""
        return config_of(self)

    @property
    def kind(self) -> str:
        return type(self).__name__

    @cached_property
    def key(self) -> str:
        """What the state is stored under: the name and a digest of the configuration."""
        config = self.config
        for name, parameter in inspect.signature(type(self).__init__).parameters.items():
            if name in self.added_parameters and config[name] == parameter.default:
                del config[name]
        canonical = json.dumps([self.kind, config], sort_keys=True, default=_config_json)
        return f"{self.name}:{hashlib.blake2b(canonical.encode(), digest_size=4).hexdigest()}"

    def __repr__(self) -> str:
        return f'{type(self).__name__}("{getattr(self, "name", "?")}")'


class Feature(Declared):
    """One named value of a profile, kept up to date event by event.

    A subclass's constructor is its configuration: every parameter is stored under its own name. Two features with the
    same class, name and configuration share stored state; with another configuration a feature is a new one.

    Parameters:
        name: The field's name in the profile.
        on: The event type, or types, the feature looks at; None for all.
        where: A condition that an event must meet, like `price > 10 and country in ["PT", "ES"]`; fields are those of
            an event, `amount` and `properties.NAME`.

    The methods a family implements, and what must hold:

    * `update(state, event)` is called once for every event of a type in `on` that meets `where`, in order of arrival;
      `state` is None the first time. It returns the new state, which may be the old object changed in place, or None
      when the event has nothing for this feature. Events may be late: `event.time` can be before an earlier event's.
    * `snapshot(state)` gives the published value, as of the state's last update. When that value changes by the mere
      passing of time it is a dict with `"at"`, the time it stands for.
    * `advance(value, now)` brings a published value to a later time. Pure, and needs no state: readers call it.
    * `merge(a, b)` combines states of two disjoint sets of events; only where `mergeable`.
    * `max_bytes` bounds the encoded state, whatever arrives.
    * `deadline(state)` and `expire(state, now)`: only where the published value is to change at a moment when nothing
      arrives. The first tells that moment (ms), None for never; the second is called when the partition's event clock
      has passed it, and returns the new state.
    """

    mergeable: ClassVar[bool] = False
    #: Whether the value depends only on which events there were, not on the order in which they arrived.
    order_free: ClassVar[bool] = False
    added_parameters = frozenset({"where"})

    def __init__(self, name: str, *, on: str | Iterable[str] | None = None, where: str | None = None) -> None:
        check_name(name)
        self.name = name
        self.on = (on,) if isinstance(on, str) else None if on is None else tuple(on)
        if self.on is not None and (not self.on or not all(isinstance(t, str) and t for t in self.on)):
            raise DefinitionError(f"{self!r}: on= takes an event type or a list of them")
        self.where = where
        self._meets = condition_of(self, where)

    def update(self, state: State | None, event: Event) -> State | None:
        raise NotImplementedError

    def conditional_update(self) -> Update:
        """`update` as the updater calls it: only for events that meet `where`."""
        update, meets = self.update, self._meets
        if meets is None:
            return update
        return lambda state, event: update(state, event) if meets(event) else None

    def snapshot(self, state: State) -> Value:
        raise NotImplementedError

    def advance(self, value: Value, now: int) -> Value:
        return value

    def value(self, state: State, now: int) -> Value:
        """The value as of `now` (ms)."""
        return self.advance(self.snapshot(state), now)

    def merge(self, a: State, b: State) -> State:
        raise TypeError(f"{type(self).__name__} has no merge")

    @property
    def max_bytes(self) -> int:
        raise NotImplementedError

    def deadline(self, state: State) -> int | None:
        return None

    def expire(self, state: State, now: int) -> State:
        raise NotImplementedError

    def category(self, state: State, now: int) -> str | None:
        """The one text that stands for this feature in a model's inputs; None for a feature that has none."""
        value = self.value(state, now)
        return value if type(value) is str else None

    def input_names(self) -> tuple[str, ...]:
        """Names of the numbers this feature gives to a model; empty for one that has none."""
        return ()

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        """Those numbers as of `now`, also for a user who has no state yet."""
        return ()


def config_of(declared: object) -> dict[str, Any]:
    """The arguments of an object whose constructor keeps each under its own name."""
    return {name: getattr(declared, name) for name in inspect.signature(type(declared)).parameters}


def config_as_json(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as plain JSON values; an object within it (a label, a model) as its class and configuration."""
    plain: dict[str, Any] = json.loads(json.dumps(config, default=_config_json))
    return plain


def _config_json(value: Any) -> Any:
    config = getattr(value, "config", None)
    return {"kind": type(value).__name__, "config": config} if config is not None else str(value)


def check_name(name: str) -> None:
    if not isinstance(name, str) or not name.replace("_", "a").isalnum() or name.startswith("_"):
        raise DefinitionError(
            f"{name!r} is not a name: use letters, digits and _, and no _ at the start (Redis keeps those for itself)"
        )


def condition_of(owner: object, where: str | None) -> Callable[[Event], bool] | None:
    """A condition on events, ready to be asked; None for none.

    Raises:
        DefinitionError: it is not a condition, or speaks of a field that events do not have.
    """
    if where is None:
        return None
    known = (*_EVENT_FIELDS, *_VIRTUAL_FIELDS, "properties")
    try:
        return expressions.compile(where, known, lambda field: field_getter(owner, field)).check
    except DefinitionError as error:
        raise DefinitionError(f"{owner!r}: where: {error}") from None


def field_getter(owner: object, field: str) -> Getter:
    """How to read a field of an event: a contract field, `amount` (price times quantity), or `properties.NAME`.

    Raises:
        DefinitionError: the event has no such field.
    """
    if field in _EVENT_FIELDS:
        return attrgetter(field)
    if field == "amount":
        return _amount
    prefix, _, name = field.partition(".")
    if prefix == "properties" and name:
        return lambda event: event.properties.get(name)
    close = difflib.get_close_matches(field, [*_EVENT_FIELDS, *_VIRTUAL_FIELDS], n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"for a field of your own write 'properties.{field}'"
    raise DefinitionError(f"{owner!r}: an event has no field {field!r}; {hint}")


def _amount(event: Event) -> float | None:
    if event.price is None:
        return None
    return event.price if event.quantity is None else event.price * event.quantity


def number(value: Any) -> float | None:
    """The value as a float, or None when it is not a number or one so large that sums of it could overflow."""
    if (type(value) is float or type(value) is int) and -_MAX_NUMBER < value < _MAX_NUMBER:
        return float(value)
    return None


def text(value: Any) -> str | None:
    """The value as a string of bounded length, or None when there is none."""
    if type(value) is str:
        return value if len(value) <= MAX_ID_LENGTH else value[:MAX_ID_LENGTH]
    if value is None or isinstance(value, (list, dict)):
        return None
    return str(value)[:MAX_ID_LENGTH]
