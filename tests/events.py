"""Events for tests: made by hand, and drawn at random with everything that may go wrong in a real stream."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from stream_profiles import Event

#: 2024-03-01, the moment around which the events of tests lie.
T0 = 1_709_251_200_000
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


def event(type: str = "view", at: int = 0, user: str = "ada", **fields: Any) -> Event:
    """An event `at` ms after T0; its id is made of everything in it."""
    fields.setdefault("event_id", f"{user}-{type}-{at}-{sorted(fields.items())}"[:256])
    return Event(user_id=user, type=type, time=T0 + at, **fields)


_texts = st.sampled_from(["a", "b", "c", "d", "", "ä", "日本", "x" * 256])
_numbers = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 0.1, 1e-300, 1e6, 1e12, -1e12]), st.floats(-1e6, 1e6, allow_nan=False)
)
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "item_id": _texts,
    "category": _texts,
    "channel": _texts,
    "price": _numbers,
    "quantity": _numbers,
    "session_id": _texts,
    "properties": st.fixed_dictionaries(
        {}, optional={"size": st.one_of(_texts, _numbers, st.booleans(), st.integers())}
    ),
}


@st.composite
def streams(draw: st.DrawFn, *, users: int = 1, max_size: int = 40, distinct_times: bool = False) -> list[Event]:
    """Events of some users in order of arrival. Times repeat, jump and go back, by minutes and by days."""
    steps = st.sampled_from(
        [0, 1, SECOND, MINUTE, 20 * MINUTE, 31 * MINUTE, HOUR, DAY, 40 * DAY, -1, -MINUTE, -HOUR, -DAY]
    )
    drawn = draw(
        st.lists(
            st.tuples(
                steps,
                st.sampled_from(["view", "cart", "purchase"]),
                st.integers(1, users),
                st.fixed_dictionaries({}, optional=_FIELDS),
            ),
            max_size=max_size,
        )
    )
    time, taken, events = 400 * DAY, set[int](), []
    for number, (step, type, user, fields) in enumerate(drawn):
        time = max(0, time + step)
        while distinct_times and time in taken:
            time += 1
        taken.add(time)
        events.append(event(type, time, f"user-{user}", event_id=str(number), **fields))
    return events
