"""The synthetic shop: the same for the same seed, in order of time, and with something in it that can be learned."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import islice, pairwise

import msgspec
import pytest

from stream_profiles import Event
from stream_profiles.dev.shop import DEFAULT_START_MS, shop_events

HOUR, DAY = 3_600_000, 86_400_000
EVENTS = list(shop_events(1, users=300, items=200, events=60_000))


def test_the_same_seed_is_the_same_shop() -> None:
    assert list(shop_events(1, users=300, items=200, events=2_000)) == EVENTS[:2_000]
    assert list(islice(shop_events(1, users=300, items=200), 2_000)) == EVENTS[:2_000], "with or without an end"


def test_another_seed_is_another_shop() -> None:
    other = list(shop_events(2, users=300, items=200, events=2_000))
    assert [e.user_id for e in other] != [e.user_id for e in EVENTS[:2_000]]
    assert not {e.event_id for e in other} & {e.event_id for e in EVENTS}


def test_ids_are_unique_and_times_in_order() -> None:
    assert len({e.event_id for e in EVENTS}) == len(EVENTS)
    assert all(a.time <= b.time for a, b in pairwise(EVENTS))


def test_events_are_valid() -> None:
    decoder = msgspec.json.Decoder(Event)
    for each in EVENTS[:5_000]:
        assert decoder.decode(msgspec.json.encode(each)) == each


def test_fields_are_those_a_shop_would_send() -> None:
    for each in EVENTS:
        assert each.country
        assert each.device
        assert each.channel
        if each.type == "search":
            assert each.query
            assert each.item_id is None
            assert each.price is None
        else:
            assert each.item_id
            assert each.category
            assert each.text
            assert each.currency == "EUR"
            assert each.price is not None
            assert each.price > 0
        assert (each.session_id is None) == (each.type == "refund")


def test_an_item_is_always_the_same() -> None:
    seen: dict[str | None, tuple[object, ...]] = {}
    for each in EVENTS:
        if each.item_id is not None:
            about = (each.category, each.price, each.text)
            assert seen.setdefault(each.item_id, about) == about


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("view", 0.75, 0.82),
        ("search", 0.06, 0.10),
        ("cart", 0.06, 0.10),
        ("purchase", 0.03, 0.05),
        ("refund", 0.0015, 0.005),
    ],
)
def test_proportions(kind: str, low: float, high: float) -> None:
    assert low <= sum(e.type == kind for e in EVENTS) / len(EVENTS) <= high


def test_the_rate_is_as_documented_and_follows_the_day() -> None:
    days = (EVENTS[-1].time - EVENTS[0].time) / DAY
    assert 3 <= len(EVENTS) / days / 300 <= 5
    hours = Counter(e.time // HOUR % 24 for e in EVENTS)
    assert hours[20] > 5 * hours[4]


def test_a_purchase_follows_what_was_put_into_the_cart() -> None:
    carts: dict[str, set[str | None]] = {}
    for each in EVENTS:
        if each.type == "cart":
            carts.setdefault(each.user_id, set()).add(each.item_id)
        elif each.type == "purchase":
            assert each.item_id in carts[each.user_id]


def test_the_lines_of_an_order_have_one_time() -> None:
    times: dict[str | None, set[int]] = {}
    for each in EVENTS:
        if each.type == "purchase":
            times.setdefault(each.session_id, set()).add(each.time)
    assert {len(each) for each in times.values()} == {1}


def test_a_refund_takes_one_purchase_back() -> None:
    bought = {e.event_id: e for e in EVENTS if e.type == "purchase"}
    refunds = [e for e in EVENTS if e.type == "refund"]
    for refund in refunds:
        purchase = bought[refund.event_id.removesuffix("-refund")]
        assert (refund.user_id, refund.item_id, refund.price) == (purchase.user_id, purchase.item_id, purchase.price)
        assert refund.quantity == -(purchase.quantity or 0)
        assert refund.time > purchase.time


def visits() -> list[tuple[list[Event], list[Event]]]:
    """Each visit, and what the same user did before it."""
    past: dict[str, list[Event]] = {}
    found: dict[str, tuple[list[Event], list[Event]]] = {}
    for each in EVENTS:
        history = past.setdefault(each.user_id, [])
        if each.session_id is not None:
            found.setdefault(each.session_id, ([], list(history)))[0].append(each)
        history.append(each)
    return list(found.values())


VISITS = visits()


def share_that_buys(some: list[tuple[list[Event], list[Event]]]) -> float:
    assert len(some) > 100
    return sum(any(e.type == "purchase" for e in visit) for visit, _ in some) / len(some)


def within(events: list[Event], now: int, days: float, kind: str) -> int:
    return sum(e.type == kind and now - e.time <= days * DAY for e in events)


def test_who_has_a_cart_waiting_buys_more_often() -> None:
    known = [(visit, past) for visit, past in VISITS if within(past, visit[0].time, 30, "view") > 20]

    def waits(visit: list[Event], past: list[Event]) -> bool:
        bought = max((e.time for e in past if e.type == "purchase"), default=0)
        return any(e.type == "cart" and e.time > max(bought, visit[0].time - DAY) for e in past)

    waiting = [each for each in known if waits(*each)]
    assert share_that_buys(waiting) > 1.5 * share_that_buys([each for each in known if each not in waiting])


def test_who_bought_before_buys_again_but_not_at_once() -> None:
    known = [(visit, past) for visit, past in VISITS if within(past, visit[0].time, 30, "view") > 20]
    just = [each for each in known if within(each[1], each[0][0].time, 1, "purchase")]
    lately = [each for each in known if not within(each[1], each[0][0].time, 4, "purchase")]
    often = [each for each in lately if sum(e.type == "purchase" for e in each[1]) >= 3]
    never = [each for each in lately if not any(e.type == "purchase" for e in each[1])]
    assert share_that_buys(often) > 2 * share_that_buys(never)
    assert share_that_buys(often) > 1.2 * share_that_buys(just)


def test_who_looks_around_more_buys_more() -> None:
    short = [each for each in VISITS if sum(e.type == "view" for e in each[0]) <= 5]
    long = [each for each in VISITS if sum(e.type == "view" for e in each[0]) >= 15]
    assert share_that_buys(long) > 2 * share_that_buys(short)


def test_people_have_tastes() -> None:
    views: dict[str, Counter[str | None]] = {}
    for each in EVENTS:
        if each.type == "view":
            views.setdefault(each.user_id, Counter())[each.category] += 1
    regulars = [counts for counts in views.values() if sum(counts.values()) > 50]
    favourites = sum(sum(n for _, n in counts.most_common(3)) for counts in regulars)
    assert favourites > 0.7 * sum(sum(counts.values()) for counts in regulars)


@pytest.mark.parametrize("start", [datetime(2020, 5, 1, tzinfo=UTC), 1_588_291_200_000])
def test_the_stream_begins_when_it_is_told_to(start: datetime | int) -> None:
    first = next(shop_events(start=start))
    assert 1_588_291_200_000 <= first.time < 1_588_291_200_000 + HOUR
    assert DEFAULT_START_MS <= next(shop_events()).time < DEFAULT_START_MS + HOUR


@pytest.mark.parametrize(("users", "items"), [(1, 1), (1, 100), (50, 3)])
def test_the_smallest_shops(users: int, items: int) -> None:
    events = list(shop_events(users=users, items=items, events=500))
    assert len(events) == 500
    assert len({e.user_id for e in events}) <= users
    assert len({e.item_id for e in events if e.item_id}) <= items


def test_no_events() -> None:
    assert list(shop_events(events=0)) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"users": 0}, "at least one user and one item"),
        ({"items": 0}, "at least one user and one item"),
        ({"start": datetime(2020, 5, 1)}, "start needs a time zone"),
        ({"start": -1}, "start is no time"),
    ],
)
def test_a_shop_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shop_events(**options)  # type: ignore[arg-type]
