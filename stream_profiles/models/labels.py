"""Labels: what a target predicts, and how the events that follow a prediction tell what was true.

A label looks at the events of the user after the prediction and keeps an outcome per prediction, None while there is
none. When the time is up (event time), the outcome becomes the label that is learned. Where one outcome is known
earlier than the other, as with "buys within a day", both are learned when the time is up: a model that met the good
news first would believe in it too much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import copysign, expm1, log1p, sqrt
from typing import Any, ClassVar

from ..contracts import Event
from ..durations import Duration, label, to_ms
from ..errors import DefinitionError
from ..expressions import is_missing
from ..features.base import condition_of, config_of, field_getter, number, text

#: How a number is brought to a scale, and back. Negative numbers are mirrored. What a model that diverges says on a
#: scale would overflow, and is cut.
SCALES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "sqrt": (lambda x: copysign(sqrt(abs(x)), x), lambda y: copysign(min(abs(y), 1e50) ** 2, y)),
    "log": (lambda x: copysign(log1p(abs(x)), x), lambda y: copysign(expm1(min(abs(y), 230.0)), y)),
}
#: The most characters of a text that is a label.
MAX_LABEL_LENGTH = 64


class Label:
    """What is to be predicted. The constructor is the configuration.

    * `see(outcome, event)` is called with each event of a type in `types` that comes after the prediction and in time;
      it returns the new outcome.
    * `settle(outcome)` gives the label once the time is up; None when there is none, and the example is dropped.
    """

    #: "binary", "multiclass" or "regression".
    task: ClassVar[str] = "binary"
    #: Whether an example is learned as soon as it has an outcome, not when its time is up.
    at_once: bool = False
    #: Whether the event at which the prediction is made holds the label.
    in_event: bool = False
    #: Scale on which numbers are learned: a name in `SCALES`; None for as they are.
    scale: str | None = None
    #: Event types it looks at; None for all.
    types: tuple[str, ...] | None
    within_ms: int

    @property
    def config(self) -> dict[str, Any]:
        return config_of(self)

    def see(self, outcome: Any, event: Event) -> Any:
        raise NotImplementedError

    def settle(self, outcome: Any) -> Any:
        return outcome

    def refers(self, event: Event) -> str | None:
        """The id of the event whose prediction alone this event is about; None for all of the user's."""
        return None

    def last(self, event: Event, known: Any) -> Any:
        """What the "last label" baseline says at a prediction.

        Parameters:
            event: The one at which the prediction is made.
            known: The user's last known label; None when there is none.
        """
        return known

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.config.items() if value is not None)
        return f"{type(self).__name__}({arguments})"


class Happens(Label):
    """Yes or no: an event of this type comes within this time after the prediction.

    Parameters:
        type: Event type awaited.
        within: How long to wait.
        where: Condition on the event.
    """

    def __init__(self, type: str, *, within: Duration, where: str | None = None) -> None:
        self.type = type
        self.types = (type,)
        self.within, self.within_ms = label(within), to_ms(within)
        self.where = where
        self._meets = condition_of(self, where)

    @property
    def config(self) -> dict[str, Any]:
        # Stored examples are found again by this: what an earlier release did not have is there only when it is used.
        return {name: value for name, value in config_of(self).items() if name != "where" or value is not None}

    def see(self, outcome: Any, event: Event) -> Any:
        return True if outcome or self._meets is None or self._meets(event) else outcome

    def settle(self, outcome: Any) -> Any:
        return outcome is True


class HappensBefore(Label):
    """Yes or no: an event of one type comes before one of another, such as a purchase before a refund.

    Neither of them in time is a no.

    Parameters:
        type: Event type awaited.
        before: Event type that must not come first.
        within: How long to wait.
    """

    def __init__(self, type: str, *, before: str, within: Duration) -> None:
        if type == before:
            raise DefinitionError(f"HappensBefore({type!r}): before= takes another event type")
        self.type, self.before = type, before
        self.types = (type, before)
        self.within, self.within_ms = label(within), to_ms(within)

    def see(self, outcome: Any, event: Event) -> Any:
        """An outcome is the first of the two events: `[whether it is the awaited one, its time]`."""
        if outcome is None or event.time < outcome[1]:
            return [event.type == self.type, event.time]
        return outcome

    def settle(self, outcome: Any) -> Any:
        return outcome is not None and bool(outcome[0])


class Churn(Label):
    """Yes or no: no event comes for so long. Decided by the partition's event clock, also when nothing arrives.

    Parameters:
        after: How long nothing must come.
        on: Event type(s) that count as a sign of life; None for all.
    """

    def __init__(self, *, after: Duration, on: str | Iterable[str] | None = None) -> None:
        self.after, self.within_ms = label(after), to_ms(after)
        self.on = (on,) if isinstance(on, str) else None if on is None else tuple(on)
        self.types = self.on

    def see(self, outcome: Any, event: Event) -> Any:
        return False

    def settle(self, outcome: Any) -> Any:
        return outcome is None


class ValueWithin(Label):
    """A number: the sum of a number of the events that come within this time, such as what is spent in 30 days.

    Parameters:
        of: Event field summed, such as `amount`.
        on: Event type(s) summed; None for all.
        within: How long to wait.
        where: Condition on the events.
        scale: "sqrt" or "log": the scale on which the model learns and predicts the sum, for one with a long tail.
            Predictions are brought back before they are scored and published.
    """

    task = "regression"

    def __init__(
        self,
        of: str,
        *,
        within: Duration,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
        scale: str | None = None,
    ) -> None:
        if scale not in (None, *SCALES):
            raise DefinitionError(f'ValueWithin("{of}"): scale is {" or ".join(map(repr, SCALES))}, not {scale!r}')
        self.scale = scale
        self.of = of
        self.on = (on,) if isinstance(on, str) else None if on is None else tuple(on)
        self.types = self.on
        self.within, self.within_ms = label(within), to_ms(within)
        self.where = where
        self._get = field_getter(self, of)
        self._meets = condition_of(self, where)

    def see(self, outcome: Any, event: Event) -> Any:
        amount = number(self._get(event))
        if amount is None or (self._meets is not None and not self._meets(event)):
            return outcome
        return amount if outcome is None else outcome + amount

    def settle(self, outcome: Any) -> Any:
        return 0.0 if outcome is None else outcome


class Next(Label):
    """One of several: the value of a field in the user's next event, such as the category that is viewed next.

    The "last label" baseline is the value in the event at which the prediction is made. Nothing within the time: the
    example is dropped.

    Parameters:
        of: Event field.
        on: Event type(s) of the next event; None for all.
        within: How long to wait; what comes later belongs to another visit.
    """

    task = "multiclass"
    at_once = True

    def __init__(self, of: str, *, within: Duration, on: str | Iterable[str] | None = None) -> None:
        self.of = of
        self.on = (on,) if isinstance(on, str) else None if on is None else tuple(on)
        self.types = self.on
        self.within, self.within_ms = label(within), to_ms(within)
        self._get = field_getter(self, of)

    def see(self, outcome: Any, event: Event) -> Any:
        return self._value(event) if outcome is None else outcome

    def last(self, event: Event, known: Any) -> Any:
        if self.types is not None and event.type not in self.types:
            return known
        return self._value(event) or known

    def _value(self, event: Event) -> str | None:
        value = text(self._get(event))
        return value[:MAX_LABEL_LENGTH] if value else None


class NextType(Next):
    """One of several: the type of the user's next event.

    Parameters:
        on: Event types that count; None for all.
        within: How long to wait.
    """

    def __init__(self, *, within: Duration, on: str | Iterable[str] | None = None) -> None:
        super().__init__("type", within=within, on=on)


class Given(Label):
    """A label that somebody states: fraud confirmed, a review's sentiment, the outcome of a session.

    It stands in an event, which may come from a topic of its own: name that topic among the inputs, with a mapping that
    makes events of its records.

    Parameters:
        of: Event field with the label.
        on: Type of the event that states it; None: the event at which the prediction is made states it itself, and it
            is learned right after the prediction.
        refers_to: Event field with the id of the event the label is about; None: it is about all predictions that wait.
        within: How long to wait.
        task: "binary" (true and false, yes and no, 1 and 0), "multiclass" (a text) or "regression" (a number).
        otherwise: The label when nothing is stated in time; None drops the example.
    """

    def __init__(
        self,
        of: str,
        *,
        on: str | None = None,
        refers_to: str | None = None,
        within: Duration = "30d",
        task: str = "binary",
        otherwise: bool | str | float | None = None,
    ) -> None:
        if task not in ("binary", "multiclass", "regression"):
            raise DefinitionError(f'Given("{of}"): task is "binary", "multiclass" or "regression", not {task!r}')
        if on is None and (refers_to is not None or otherwise is not None):
            raise DefinitionError(f'Given("{of}"): refers_to and otherwise need on=, the type of event that states it')
        self.of, self.on, self.refers_to = of, on, refers_to
        self.within, self.within_ms = label(within), to_ms(within)
        self.task = task  # type: ignore[misc]
        self.otherwise = None if otherwise is None else self._as_label(otherwise)
        if otherwise is not None and self.otherwise is None:
            raise DefinitionError(f'Given("{of}"): otherwise={otherwise!r} is no label of a {task} task')
        self.types = () if on is None else (on,)
        self.in_event = on is None
        # With something else when nothing comes, good and bad news are to be learned at the same time.
        self.at_once = otherwise is None
        self._get = field_getter(self, of)
        self._get_reference = None if refers_to is None else field_getter(self, refers_to)

    def see(self, outcome: Any, event: Event) -> Any:
        stated = self._as_label(self._get(event))
        return outcome if stated is None else stated

    def settle(self, outcome: Any) -> Any:
        return self.otherwise if outcome is None else outcome

    def refers(self, event: Event) -> str | None:
        return None if self._get_reference is None else text(self._get_reference(event)) or ""

    def _as_label(self, value: Any) -> Any:
        if is_missing(value):
            return None
        if self.task == "regression":
            return number(value)
        if self.task == "multiclass":
            stated = text(value)
            return stated[:MAX_LABEL_LENGTH] if stated else None
        if isinstance(value, str):
            return _TRUTH.get(value.strip().lower())
        return bool(value) if isinstance(value, (bool, int, float)) and value in (0, 1) else None


_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
