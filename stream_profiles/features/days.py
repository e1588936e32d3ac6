"""ActiveDays: on how many days a user was there, by the calendar of a time zone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..contracts import Event
from ..errors import DefinitionError
from . import windows, zones
from .base import NUMBER_BYTES, Feature, State, Value
from .zones import DAY_MS, ZONE_BYTES, local_day

#: So many days up to the last active one are known one by one: ten years, at a bit each.
_KEPT_DAYS = 3_653


class ActiveDays(Feature):
    """On how many calendar days there were events: since ever and in the last so many days, today included.

    Exact in whatever order events arrive, for ten years before the last active day: each day is a bit.
    State: `[time, last active day, days before it as bits, active days before those]`, and the user's zone where events
    tell one.

    Published: `total`; `last_7d` and the like; with `streak=True` also `streak`, how many days in a row up to today or
    yesterday, and `longest`; the user's `zone` where `zone_of` is given; `at` where they change by time.

    Parameters:
        name: Field name.
        on: Event type(s); None for all.
        where: Condition on the events.
        window: One or several durations of whole days; `"7d"` are today and the six days before.
        streak: Tell runs of days too.
        zone: IANA name of the time zone whose days they are.
        zone_of: Event field with the name of the user's own zone, like `properties.zone`. Of an event without a known
            zone that of the user's latest event with one is taken, and `zone` where there is none.

    Examples:
        >>> from stream_profiles import ActiveDays, Event
        >>> days = ActiveDays("days", window="7d", streak=True)
        >>> state = None
        >>> for day in (0, 5, 6):
        ...     event = Event(event_id=str(day), user_id="u", type="view", time=86_400_000 * day)
        ...     state = days.update(state, event)
        >>> value = days.value(state, now=86_400_000 * 7)
        >>> value["total"], value["last_7d"], value["streak"], value["longest"]
        (3, 2, 2, 2)
    """

    mergeable = True
    order_free = True

    def __init__(
        self,
        name: str,
        *,
        on: str | Iterable[str] | None = None,
        where: str | None = None,
        window: windows.Durations = None,
        streak: bool = False,
        zone: str = "UTC",
        zone_of: str | None = None,
    ) -> None:
        super().__init__(name, on=on, where=where)
        parsed = windows.parse(self, window, None)
        for each in parsed.values():
            if each.size_ms % DAY_MS or each.size_ms > _KEPT_DAYS * DAY_MS:
                given = each.label.removeprefix("last_")
                raise DefinitionError(f"{self!r}: a window is of whole days, {_KEPT_DAYS:,} at most, not {given}")
        self._windows = {name: each.size_ms // DAY_MS for name, each in parsed.items()}
        self.window = [name.removeprefix("last_") for name in parsed] or None
        self.streak = streak
        self.zone = zone
        self.zone_of = zone_of
        self._zone = zones.LocalTime(self, zone, zone_of)
        if zone_of is not None:
            # Which zone was known when an event came depends on the events before it.
            self.mergeable = self.order_free = False  # type: ignore[misc]

    def update(self, state: State | None, event: Event) -> State | None:
        time = event.time
        zone = self._zone.of(event, None if state is None or self.zone_of is None else state[4])
        day = local_day(zone, time)
        if state is None:
            return [time, day, b"\x01", 0, *(() if self.zone_of is None else (zone,))]
        moved = self.zone_of is not None and time >= state[0] and state[4] != zone
        if moved:
            state[4] = zone
        if not self._mark(state, day) and not moved:
            return None
        if time > state[0]:
            state[0] = time
        return state

    def _mark(self, state: State, day: int) -> bool:
        """Make a day an active one; returns whether that is news."""
        bits, ahead = int.from_bytes(state[2], "little"), day - state[1]
        if ahead > 0:
            state[1] = day
            dropped, bits = divmod(bits << ahead, 1 << _KEPT_DAYS) if ahead < _KEPT_DAYS else (bits, 0)
            state[3] += dropped.bit_count()
            bits |= 1
        elif ahead <= -_KEPT_DAYS or bits >> -ahead & 1:
            return False
        else:
            bits |= 1 << -ahead
        state[2] = _packed(bits)
        return True

    def snapshot(self, state: State) -> Value:
        at, last, packed, before = state[:4]
        bits = int.from_bytes(packed, "little")
        value: dict[str, Any] = {"total": before + bits.bit_count()}
        zone = self.zone if self.zone_of is None else state[4]
        then: dict[str, list[list[Any]]] = {}
        for name, days in self._windows.items():
            covered = bits & ((1 << days) - 1)
            value[name] = covered.bit_count()
            then[name] = []
            while covered:
                ago = covered.bit_length() - 1
                covered ^= 1 << ago
                then[name].append([zones.start_of_day(zone, last - ago + days), covered.bit_count()])
        if self.streak:
            value["streak"], value["longest"] = _run(bits), _longest_run(bits)
            then["streak"] = [[zones.start_of_day(zone, last + 2), 0]]
        if self.zone_of is not None:
            value["zone"] = zone
        if then:
            value["at"], value["then"] = at, then
        return value

    def advance(self, value: Value, now: int) -> Value:
        at = value.get("at")
        return value if at is None or now <= at else windows.advance(value, now)

    def merge(self, a: State, b: State) -> State:
        if not self.mergeable:
            return super().merge(a, b)
        early, late = (a, b) if a[1] <= b[1] else (b, a)
        ahead, bits = late[1] - early[1], int.from_bytes(early[2], "little")
        dropped, bits = divmod(bits << ahead, 1 << _KEPT_DAYS) if ahead < _KEPT_DAYS else (bits, 0)
        both = bits | int.from_bytes(late[2], "little")
        return [max(a[0], b[0]), late[1], _packed(both), early[3] + late[3] + dropped.bit_count()]

    @property
    def max_bytes(self) -> int:
        return 4 * NUMBER_BYTES + _KEPT_DAYS // 8 + 4 + ZONE_BYTES

    def input_names(self) -> tuple[str, ...]:
        names = ("total", *self._windows, *(("streak", "longest") if self.streak else ()))
        return tuple(f"{self.name}_{each}" for each in names)

    def inputs(self, state: State | None, now: int) -> tuple[float, ...]:
        if state is None:
            return (0.0,) * len(self.input_names())
        _, last, packed, before = state[:4]
        bits = int.from_bytes(packed, "little")
        ago = max(0, local_day(self.zone if self.zone_of is None else state[4], now) - last)
        numbers = [before + bits.bit_count()]
        numbers += [(bits & ((1 << max(0, days - ago)) - 1)).bit_count() for days in self._windows.values()]
        if self.streak:
            numbers += [_run(bits) if ago < 2 else 0, _longest_run(bits)]
        return tuple(map(float, numbers))


def _packed(bits: int) -> bytes:
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _run(bits: int) -> int:
    """How many of the lowest bits are set, in a row."""
    return (~bits & (bits + 1)).bit_length() - 1


def _longest_run(bits: int) -> int:
    return max(map(len, f"{bits:b}".split("0")))
