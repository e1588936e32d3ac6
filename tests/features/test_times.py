"""TimeSince: how long ago. InterEventTime: how long until the next, against all gaps between all events."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_profiles import InterEventTime, TimeSince
from stream_profiles.errors import DefinitionError
from tests.events import DAY, HOUR, MINUTE, SECOND, T0, event


def test_seconds_since_the_latest_event() -> None:
    idle = TimeSince("idle")
    state = idle.update(None, event(at=HOUR))
    assert idle.snapshot(state) == {"seconds": 0.0, "at": T0 + HOUR}
    assert idle.value(state, T0 + HOUR + 1_500) == {"seconds": 1.5, "at": T0 + HOUR + 1_500}
    assert idle.update(state, event(at=0)) is None, "a late event is not the latest"
    assert idle.update(state, event(at=HOUR)) is None
    assert idle.update(state, event(at=DAY)) == T0 + DAY


def test_seconds_since_the_first_event() -> None:
    known = TimeSince("known", since="first")
    state = known.update(None, event(at=HOUR))
    assert known.update(state, event(at=DAY)) is None
    state = known.update(state, event(at=0))
    assert known.value(state, T0 + DAY) == {"seconds": 86_400.0, "at": T0 + DAY}
    assert known.inputs(state, T0 + DAY) == (86_400.0, 1.0)
    assert known.merge(T0, T0 + 1) == T0


def test_since_what_is_part_of_the_key_where_it_is_not_the_last() -> None:
    assert TimeSince("idle").key == TimeSince("idle", since="last").key == "idle:e0227ccf"
    assert TimeSince("idle", since="first").key != TimeSince("idle").key
    with pytest.raises(DefinitionError, match=r'TimeSince\("idle"\): since= takes "last" or "first", not .latest.'):
        TimeSince("idle", since="latest")


def test_a_model_is_told_whether_it_ever_happened() -> None:
    idle = TimeSince("idle")
    assert idle.input_names() == ("idle_seconds", "idle_ever")
    assert idle.inputs(None, T0) == (0.0, 0.0)
    assert idle.inputs(T0, T0 + HOUR) == (3_600.0, 1.0)
    assert idle.inputs(T0 + HOUR, T0) == (0.0, 1.0), "a late event makes its prediction in the past"


def test_merging_keeps_the_later() -> None:
    assert TimeSince("idle").merge(T0, T0 + 1) == T0 + 1


def run(rhythm: InterEventTime, *at: int) -> Any:
    state = None
    for time in at:
        state = rhythm.update(state, event(at=time)) or state
    return state


def test_the_first_event_has_no_gap() -> None:
    rhythm = InterEventTime("rhythm")
    state = run(rhythm, 0)
    value = {"gaps": 0, "last_seconds": None, "mean_seconds": None, "std_seconds": None, "overdue": None}
    assert rhythm.snapshot(state) == {**value, "seconds": 0.0, "at": T0}
    assert rhythm.value(state, T0 + HOUR) == {**value, "seconds": 3_600.0, "at": T0 + HOUR}
    assert rhythm.inputs(state, T0 + HOUR) == (0.0,) * 5


def test_what_is_overdue_depends_on_now() -> None:
    rhythm = InterEventTime("rhythm")
    state = run(rhythm, 0, HOUR, 4 * HOUR)
    assert rhythm.snapshot(state) == {
        "gaps": 2,
        "seconds": 0.0,
        "last_seconds": 10_800.0,
        "mean_seconds": 7_200.0,
        "std_seconds": 3_600.0,
        "overdue": 0.0,
        "at": T0 + 4 * HOUR,
    }
    assert rhythm.value(state, T0 + 7 * HOUR)["overdue"] == 1.5
    assert rhythm.input_names() == tuple(
        f"rhythm_{each}" for each in ("gaps", "last_seconds", "mean_seconds", "std_seconds", "overdue")
    )
    assert rhythm.inputs(state, T0 + 7 * HOUR) == (2.0, 10_800.0, 7_200.0, 3_600.0, 1.5)
    assert rhythm.inputs(state, T0)[-1] == 0.0, "a late event makes its prediction in the past"


def test_the_lines_of_an_invoice_are_one_visit() -> None:
    rhythm = InterEventTime("rhythm", min_gap="10m")
    state = run(rhythm, 0, 0, MINUTE, 2 * MINUTE, DAY, DAY, DAY + 9 * MINUTE)
    assert rhythm.update(state, event(at=DAY)) is None
    assert rhythm.snapshot(state)["gaps"] == 1
    assert rhythm.snapshot(state)["mean_seconds"] == 86_400.0 - 120.0
    assert rhythm.snapshot(state)["at"] == T0 + DAY + 9 * MINUTE
    assert rhythm.snapshot(run(rhythm, 0, 10 * MINUTE))["gaps"] == 1, "a gap of that length is one"


def test_a_late_event_joins_two_visits() -> None:
    rhythm = InterEventTime("rhythm", min_gap="10m")
    state = run(rhythm, 0, 15 * MINUTE, 60 * MINUTE)
    assert rhythm.snapshot(state)["gaps"] == 2
    state = rhythm.update(state, event(at=8 * MINUTE))
    assert rhythm.snapshot(state)["gaps"] == 1
    assert rhythm.snapshot(state)["last_seconds"] == 45 * 60.0


def test_two_events_at_a_time_are_a_gap_of_nothing() -> None:
    rhythm = InterEventTime("rhythm")
    value = rhythm.value(run(rhythm, 0, 0), T0 + HOUR)
    assert (value["gaps"], value["mean_seconds"], value["overdue"]) == (1, 0.0, None)


def test_an_event_older_than_the_visits_kept_apart_is_left_out() -> None:
    rhythm = InterEventTime("rhythm")
    state = run(rhythm, *(hour * HOUR for hour in range(10)))
    before = rhythm.snapshot(state)
    assert rhythm.update(state, event(at=5 * HOUR)) is None
    assert rhythm.snapshot(state) == before
    assert rhythm.snapshot(rhythm.update(state, event(at=6 * HOUR + 1)))["gaps"] == 10


def test_it_keeps_something() -> None:
    with pytest.raises(DefinitionError, match="keeps nothing: give it a half_life, or leave lifetime=True"):
        InterEventTime("rhythm", lifetime=False)


def expected(times: list[int], min_gap: int, half_life: int | None) -> tuple[int, float | None, float | None]:
    """Number, mean and deviation of the gaps between all events."""
    gaps = [(b, (b - a) / 1000) for a, b in pairwise(sorted(times)) if b - a >= min_gap]
    if not gaps:
        return 0, None, None
    weights = [1.0 if half_life is None else math.exp2(-(gaps[-1][0] - time) / half_life) for time, _ in gaps]
    total = sum(weights)
    mean = sum(w * gap for w, (_, gap) in zip(weights, gaps, strict=True)) / total
    variance = sum(w * (gap - mean) ** 2 for w, (_, gap) in zip(weights, gaps, strict=True)) / total
    return len(gaps), mean, math.sqrt(variance)


steps = st.lists(st.sampled_from([0, 1, SECOND, MINUTE, 29 * MINUTE, HOUR, DAY, 40 * DAY]), min_size=1, max_size=30)


@given(steps=steps, min_gap=st.sampled_from([None, "1m", "30m"]), swaps=st.sets(st.integers(0, 28)))
def test_gaps_are_those_between_all_events(steps: list[int], min_gap: str | None, swaps: set[int]) -> None:
    """Also when an event and the one before it arrive the wrong way round."""
    times = [sum(steps[: n + 1]) for n in range(len(steps))]
    arrivals = list(times)
    for n in sorted(swaps):
        if n + 1 < len(arrivals) and n - 1 not in swaps:
            arrivals[n], arrivals[n + 1] = arrivals[n + 1], arrivals[n]
    rhythm = InterEventTime("rhythm", half_life="1d", min_gap=min_gap)
    value = rhythm.snapshot(run(rhythm, *arrivals))
    for half_life, mean, std in ((None, "mean_seconds", "std_seconds"), (DAY, "mean_1d_seconds", "std_1d_seconds")):
        gaps, exact_mean, exact_std = expected(times, rhythm._min_gap_ms, half_life)
        assert value["gaps"] == gaps
        if exact_mean is None or exact_std is None:
            assert value[mean] is None and value[std] is None
        else:
            assert value[mean] == pytest.approx(exact_mean, rel=1e-9, abs=1e-6)
            assert value[std] == pytest.approx(exact_std, rel=1e-6, abs=1e-3)
    assert value["at"] == T0 + times[-1]


@given(times=st.lists(st.integers(0, 10 * DAY), min_size=1, max_size=4))
def test_four_events_may_arrive_in_any_order(times: list[int]) -> None:
    rhythm = InterEventTime("rhythm", min_gap="1h")
    value = rhythm.snapshot(run(rhythm, *times))
    gaps, mean, std = expected(times, HOUR, None)
    assert value["gaps"] == gaps
    assert value["mean_seconds"] == pytest.approx(mean)
    assert value["std_seconds"] == pytest.approx(std, abs=1e-6)


def test_what_more_can_be_told_leaves_todays_keys_and_states_as_they_are() -> None:
    rhythm = InterEventTime("rhythm", half_life="1d", min_gap="30m")
    same = {"within": None, "log_scale": False, "usual_gap": "30d"}
    assert rhythm.key == InterEventTime("rhythm", half_life="1d", min_gap="30m", **same).key == "rhythm:a8a7c614"
    assert InterEventTime("rhythm", within="1d").key != InterEventTime("rhythm").key
    stored = [[[T0, T0], [T0 + HOUR, T0 + HOUR]], 1, 3_600.0, [1.0, 3_600.0, 0.0], [1.0, 3_600.0, 0.0]]
    value = rhythm.snapshot(rhythm.update(stored, event(at=4 * HOUR)))
    assert (value["gaps"], value["mean_seconds"]) == (3, 6_000.0)


def test_how_many_gaps_were_short() -> None:
    rhythm = InterEventTime("rhythm", within=("1h", "1d"))
    value = rhythm.snapshot(run(rhythm, 0, HOUR, DAY, 10 * DAY))
    assert (value["within_1h"], value["within_1d"]) == (1 / 3, 2 / 3)
    assert rhythm.snapshot(run(rhythm, 0))["within_1h"] is None
    with pytest.raises(DefinitionError, match=r"a duration is given twice in within=\['1h', '1h'\]"):
        InterEventTime("rhythm", within=("1h", "1h"))


def test_gaps_on_a_logarithmic_scale() -> None:
    rhythm = InterEventTime("rhythm", log_scale=True)
    value = rhythm.snapshot(run(rhythm, 0, DAY, 10 * DAY))
    logs = [math.log(1.5), math.log(9.5)]
    assert value["log_mean"] == pytest.approx(sum(logs) / 2)
    assert value["log_std"] == pytest.approx((logs[1] - logs[0]) / 2)
    value = rhythm.snapshot(run(rhythm, 0))
    assert (value["log_mean"], value["log_std"]) == (None, None)


def test_a_model_sees_one_gap_more() -> None:
    rhythm = InterEventTime("rhythm", within=("7d", "30d"), log_scale=True, usual_gap="14d")
    assert rhythm.input_names()[5:] == (
        "rhythm_within_7d",
        "rhythm_within_30d",
        "rhythm_log_mean",
        "rhythm_log_std",
    )
    usual = (1 - math.exp(-0.5), 1 - math.exp(-30 / 14), math.log(14.5))
    assert rhythm.inputs(None, T0) == pytest.approx((*((0.0,) * 5), *usual, 0.0))
    assert rhythm.inputs(run(rhythm, 0), T0) == rhythm.inputs(None, T0)
    seen = rhythm.inputs(run(rhythm, 0, DAY, 15 * DAY), T0 + 15 * DAY)[5:]
    logs = [math.log(1.5), math.log(14.5)]
    assert seen == pytest.approx(
        ((1 + usual[0]) / 3, (2 + usual[1]) / 3, (sum(logs) + usual[2]) / 3, (logs[1] - logs[0]) / 2)
    )


@given(steps=steps)
def test_gaps_in_all_are_told_more_of(steps: list[int]) -> None:
    """Closed and open gaps, fading."""
    times = [sum(steps[: n + 1]) for n in range(len(steps))]
    rhythm = InterEventTime("rhythm", within=("29m", "1d"), log_scale=True, half_life="1d", lifetime=False)
    value = rhythm.snapshot(run(rhythm, *times))
    gaps = [(2.0 ** -((times[-1] - b) / DAY), b - a) for a, b in pairwise(times)]
    total = sum(weight for weight, _ in gaps)
    if not total:
        assert value["within_1d_1d"] is None
        return
    logs = [(weight, math.log(gap / DAY + 0.5)) for weight, gap in gaps]
    mean = sum(weight * each for weight, each in logs) / total
    assert value["within_29m_1d"] == pytest.approx(sum(w for w, gap in gaps if gap <= 29 * MINUTE) / total)
    assert value["within_1d_1d"] == pytest.approx(sum(w for w, gap in gaps if gap <= DAY) / total)
    assert value["log_mean_1d"] == pytest.approx(mean)
    assert value["log_std_1d"] == pytest.approx(math.sqrt(sum(w * (x - mean) ** 2 for w, x in logs) / total), abs=1e-6)
