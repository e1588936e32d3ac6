"""WaitingTexts: what waits is bounded, what counts most goes first, and a restored one goes on as if it never slept."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_profiles.models import waiting_texts as module
from stream_profiles.models.waiting_texts import KnownVectors, Waiter, WaitingTexts

VECTOR = np.array([1, 2, 3, 4], "<f4").tobytes()
OTHER = np.array([5, 6, 7, 8], "<f4").tobytes()


def waiter(number: int, weight: float = 1.0, text_id: str | None = None, since: int = 0) -> Waiter:
    return Waiter(text_id or f"t{number}", f"u{number}", f"e{number}", 1_000 + number, weight, since)


def rows(labels: Any) -> list[bytes]:
    assert labels is not None
    return [row.tobytes() for row in labels]


def ask(waiting: WaitingTexts, *waiters: Waiter) -> None:
    for each in waiters:
        waiting.ask(each, f"text of {each.text_id}")


def asked(waiting: WaitingTexts) -> list[str]:
    return [request.text for request in waiting.take_requests()]


def test_a_text_is_asked_about_once_however_many_wait_for_it() -> None:
    waiting = WaitingTexts("e", {}, 100)
    ask(waiting, waiter(1), waiter(2, text_id="t1"), waiter(3))
    assert asked(waiting) == ["text of t1", "text of t3"]
    assert [each.user_id for each in waiting.answered("t1")] == ["u1", "u2"]
    assert waiting.answered("t1") == []  # the answer comes again
    assert len(waiting) == 1


def test_what_counts_most_is_asked_about_first() -> None:
    waiting = WaitingTexts("e", {}, 100, max_in_flight=1)
    ask(waiting, waiter(1), waiter(2), waiter(3, weight=5), waiter(4, weight=5), waiter(5))
    order = []
    while requests := asked(waiting):
        order += requests
        waiting.answered(requests[0].removeprefix("text of "))
    assert order == [f"text of t{number}" for number in (1, 3, 4, 2, 5)]


def test_the_oldest_of_those_that_count_least_are_dropped() -> None:
    waiting = WaitingTexts("e", {}, 3, max_in_flight=1)
    ask(waiting, waiter(0), waiter(1), waiter(2), waiter(3, weight=5), waiter(4, weight=5))
    assert waiting.dropped == 2
    # What is asked about already stays; of the others only purchases are left, and a view finds no room among them.
    ask(waiting, waiter(5))
    assert waiting.dropped == 3
    left = []
    while requests := asked(waiting):
        left += [each.user_id for each in waiting.answered(requests[0].removeprefix("text of "))]
    assert left == ["u0", "u3", "u4"]


def test_a_text_that_is_asked_about_takes_all_who_queue_for_it() -> None:
    waiting = WaitingTexts("e", {}, 100, max_in_flight=1)
    ask(waiting, waiter(1), waiter(2), waiter(3, text_id="t2", weight=5))
    assert asked(waiting) == ["text of t1"]
    waiting.answered("t1")
    assert asked(waiting) == ["text of t2"]
    assert {each.user_id for each in waiting.answered("t2")} == {"u2", "u3"}
    assert asked(waiting) == []


def test_who_waits_too_long_is_given_up_and_makes_room() -> None:
    waiting = WaitingTexts("e", {}, 100, max_in_flight=1)
    ask(waiting, waiter(1, since=10), waiter(2, since=20), waiter(3, since=30))
    assert asked(waiting) == ["text of t1"]
    assert waiting.since == 10
    assert waiting.give_up(before=25) == 2
    assert (waiting.lost, waiting.since, asked(waiting)) == (2, 30, ["text of t3"])


def test_an_answer_that_comes_after_all_finds_nobody() -> None:
    waiting = WaitingTexts("e", {}, 100)
    ask(waiting, waiter(1))
    waiting.give_up(before=1)
    assert waiting.answered("t1") == []


def test_what_came_and_went_between_two_writes_is_not_written() -> None:
    waiting = WaitingTexts("e", {}, 100)
    ask(waiting, waiter(1))
    waiting.answered("t1")
    assert waiting.take() == []
    ask(waiting, waiter(2))
    assert [key for key, _ in waiting.take()] == ["2"]
    waiting.answered("t2")
    assert waiting.take() == [("2", None)]
    assert waiting.take() == []


def test_labels_are_asked_for_once_and_kept() -> None:
    labels = {"l1": "garden", "l2": "kitchen"}
    waiting = WaitingTexts("e", labels, 100)
    ask(waiting, waiter(1), waiter(2))
    assert asked(waiting) == ["garden", "kitchen", "text of t1", "text of t2"]
    waiting.set_label("l1", "1", VECTOR)
    assert waiting.labels("1") is None
    waiting.set_label("l2", "1", OTHER)
    assert rows(waiting.labels("1")) == [VECTOR, OTHER]
    restored = stored(waiting, {}, labels)[0]
    assert rows(restored.labels("1")) == [VECTOR, OTHER]
    ask(restored, waiter(3))
    assert asked(restored) == ["text of t3"]


def test_labels_of_another_version_of_the_encoder_are_asked_for_anew_once() -> None:
    waiting = WaitingTexts("e", {"l1": "garden"}, 100)
    ask(waiting, waiter(1))
    waiting.set_label("l1", "1", VECTOR)
    asked(waiting)
    assert waiting.labels("2") is None
    assert waiting.labels("2") is None
    assert asked(waiting) == ["garden"]
    waiting.set_label("l1", "2", VECTOR)
    assert rows(waiting.labels("2")) == [VECTOR]
    assert waiting.labels("1") is None


def stored(
    waiting: WaitingTexts, changelog: dict[str, Any], labels: dict[str, str] | None = None, in_flight: int = 2_048
) -> tuple[WaitingTexts, dict[str, Any]]:
    """What a recovery makes of it."""
    for key, content in waiting.take():
        if content is None:
            del changelog[key]
        else:
            changelog[key] = msgspec.msgpack.decode(msgspec.msgpack.encode(content))
    restored = WaitingTexts("e", labels or {}, 5, in_flight)
    restored.restore(changelog)
    return restored, changelog


def test_what_queued_is_asked_about_again_after_a_recovery_and_what_was_in_flight_is_not() -> None:
    waiting = WaitingTexts("e", {}, 5, max_in_flight=1)
    ask(waiting, waiter(1), waiter(2))
    assert asked(waiting) == ["text of t1"]
    restored, _ = stored(waiting, {}, in_flight=1)
    assert asked(restored) == []
    assert [each.event_id for each in restored.answered("t1")] == ["e1"]
    assert asked(restored) == ["text of t2"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 6), st.sampled_from([1.0, 5.0])),
        st.tuples(st.just("answer"), st.integers(0, 6)),
        st.tuples(st.just("give up"), st.integers(0, 60)),
        st.tuples(st.just("restart")),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(STEPS, st.integers(1, 4), st.sampled_from([1, 2, 500]))
def test_everybody_is_answered_or_counted_once_whatever_happens(
    steps: list[Any], in_flight: int, an_answer: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MAX_AN_ANSWER", an_answer)
        go_through(steps, in_flight)


def go_through(steps: list[Any], in_flight: int) -> None:
    waiting, changelog = WaitingTexts("e", {}, 5, in_flight), dict[str, Any]()
    came, answered, dropped, lost, outstanding = set[str](), list[str](), 0, 0, set[str]()
    for number, (step, *arguments) in enumerate(steps):
        if step == "ask":
            came.add(f"e{number}")
            ask(waiting, waiter(number, arguments[1], f"t{arguments[0]}", since=number))
        elif step == "answer":
            answered += [each.event_id for each in waiting.answered(f"t{arguments[0]}")]
            outstanding.discard(f"text of t{arguments[0]}")
        elif step == "give up":
            waiting.give_up(arguments[0])
        else:
            dropped, lost = dropped + waiting.dropped, lost + waiting.lost
            waiting, changelog = stored(waiting, changelog, in_flight=in_flight)
        outstanding |= set(asked(waiting))
        assert len(waiting) <= 5
    while len(waiting):
        texts = {f"text of {each.text_id}" for each in waiting._waiters.values()}
        # Nobody waits for a text that nobody asks about, unless others go first.
        assert outstanding & texts
        for text in sorted(outstanding & texts):
            answered += [each.event_id for each in waiting.answered(text.removeprefix("text of "))]
        outstanding = (outstanding - texts) | set(asked(waiting))
    assert len(set(answered)) == len(answered)
    assert set(answered) <= came
    assert len(answered) + dropped + waiting.dropped + lost + waiting.lost == len(came)
    stored(waiting, changelog)
    assert changelog == {}


def test_vectors_of_a_version_that_was_replaced_are_known_no_more() -> None:
    known = KnownVectors()
    known.put("e", "t1", "1", VECTOR)
    known.put("other", "t2", "7", VECTOR)
    known.put("e", "t3", "2", VECTOR)
    assert known.get("e", "t1") is None
    assert known.get("e", "t3") == ("2", VECTOR)
    assert known.get("other", "t2") == ("7", VECTOR)


def test_an_answer_is_for_so_many_and_those_behind_them_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_AN_ANSWER", 3)
    waiting = WaitingTexts("e", {}, 100, max_in_flight=1)
    ask(waiting, waiter(0), *(waiter(number, text_id="hot") for number in range(1, 6)))
    assert asked(waiting) == ["text of t0"]
    ask(waiting, waiter(6, text_id="hot", weight=5))
    waiting.answered("t0")
    assert asked(waiting) == ["text of hot"]
    ask(waiting, waiter(7, text_id="hot"))
    # The one that counts most is not left behind.
    assert [each.user_id for each in waiting.answered("hot")] == ["u6", "u1", "u2"]
    assert asked(waiting) == ["text of hot"]
    restored, changelog = stored(waiting, {}, in_flight=1)
    assert len(restored) == 4
    assert [each.user_id for each in restored.answered("hot")] == ["u3", "u4", "u5"]
    assert asked(restored) == ["text of hot"]
    assert [each.user_id for each in restored.answered("hot")] == ["u7"]
    stored(restored, changelog)
    assert changelog == {}


def test_who_is_behind_asks_when_those_before_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_AN_ANSWER", 1)
    waiting = WaitingTexts("e", {}, 100)
    ask(waiting, waiter(1, text_id="hot", since=1), waiter(2, text_id="hot", since=5))
    assert asked(waiting) == ["text of hot"]
    assert waiting.give_up(before=3) == 1
    assert asked(waiting) == ["text of hot"]
    assert [each.user_id for each in waiting.answered("hot")] == ["u2"]


def test_who_waits_goes_on_waiting_when_a_partition_is_kept_through_a_rebalance() -> None:
    waiting = WaitingTexts("e", {}, 100, max_in_flight=1)
    ask(waiting, waiter(1), waiter(2))
    assert asked(waiting) == ["text of t1"]
    waiting.restore({})
    assert len(waiting) == 2
    assert [each.user_id for each in waiting.answered("t1")] == ["u1"]
    assert [each.user_id for each in waiting.answered("t2")] == ["u2"]


def test_where_few_texts_are_all_that_many_wait_for_the_oldest_that_count_least_go() -> None:
    """No text worker runs, and all views are of the same page: each waits for an answer that is under way."""
    waiting = WaitingTexts("e", {}, 4)
    ask(waiting, *(waiter(number, text_id="page") for number in range(4)))
    ask(waiting, waiter(4, weight=5, text_id="order"), waiter(5, weight=5, text_id="order"), waiter(6, text_id="page"))
    assert waiting.dropped == 3
    assert asked(waiting) == ["text of page", "text of order"]
    assert [each.user_id for each in waiting.answered("order")] == ["u4", "u5"]
    assert [each.user_id for each in waiting.answered("page")] == ["u3", "u6"]


def test_those_behind_an_answer_that_nobody_waits_for_ask_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_AN_ANSWER", 1)
    waiting = WaitingTexts("e", {}, 2)
    ask(waiting, waiter(1, text_id="hot"), waiter(2, weight=5, text_id="hot"))
    assert asked(waiting) == ["text of hot"]
    ask(waiting, waiter(3, weight=5, text_id="other"))
    assert (waiting.dropped, asked(waiting)) == (1, ["text of hot"])
    assert [each.user_id for each in waiting.answered("hot")] == ["u2"]
    assert asked(waiting) == ["text of other"]
