"""A synthetic shop: an endless stream of events for demonstrations, benchmarks and tests, the same for the same seed.

People have tastes (a few categories, a price level), visit over the day, look around, search, fill a cart that waits
for them, buy, and sometimes send things back. What they buy depends on what they did before, so that a model has
something to learn, and on chance and on traits no event tells, so that no model can know it all.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heappop, heappush
from itertools import accumulate
from math import exp, log, log1p
from random import Random
from typing import Any

from ..contracts import MAX_TIME_MS, Event

#: 2024-01-01, long enough ago that millions of events do not run into the future.
DEFAULT_START_MS = 1_704_067_200_000

_SECOND, _HOUR, _DAY = 1_000, 3_600_000, 86_400_000
#: How often a user comes by unprompted.
_VISITS_A_DAY = 0.3
#: How many of a day's visits begin in each hour (UTC): a quiet night, a lunch break, a busy evening.
_HOURS = (15, 9, 6, 5, 5, 8, 16, 28, 40, 48, 52, 55, 62, 59, 52, 50, 51, 56, 66, 78, 84, 75, 52, 28)
_VIEWS_A_VISIT = 8.5
_BETWEEN_EVENTS_MS = 40 * _SECOND
#: Chance that a view comes of a search.
_SEARCHES = 0.1
#: Chance that a view is of something that lies in the cart already.
_LOOKS_BACK = 0.12
#: Chance that who leaves with a full cart comes back for it, and after how long on average.
_RETURNS, _RETURNS_AFTER_MS = 0.4, 9 * _HOUR
_REFUNDS, _REFUNDED_AFTER_MS = 0.09, 5 * _DAY
#: Interest is what was viewed lately; half of it is gone in this time.
_INTEREST_HALF_LIFE_MS = 1.5 * _DAY
_CART_LASTS_MS, _CART_HOLDS = 2 * _DAY, 4

_CATEGORIES = {
    "baby": ("romper", "baby blanket", "high chair"),
    "bags": ("backpack", "tote bag", "weekend bag", "wallet"),
    "beauty": ("face cream", "shampoo", "lip balm", "perfume"),
    "bedding": ("duvet", "pillow", "bed linen", "blanket"),
    "books": ("novel", "cookbook", "travel guide", "picture book"),
    "camping": ("tent", "sleeping bag", "camping stove", "headlamp"),
    "coffee": ("espresso cups", "coffee grinder", "french press", "coffee beans"),
    "cycling": ("bike light", "helmet", "saddle", "bike lock"),
    "dresses": ("summer dress", "wrap dress", "evening dress"),
    "garden": ("plant pot", "watering can", "pruning shears"),
    "jackets": ("rain jacket", "down jacket", "blazer", "parka"),
    "jewellery": ("necklace", "ring", "bracelet", "earrings"),
    "kitchen": ("chef's knife", "frying pan", "mixing bowl", "kettle"),
    "lighting": ("table lamp", "floor lamp", "string lights"),
    "music": ("headphones", "record player", "loudspeaker"),
    "office": ("notebook", "desk mat", "fountain pen", "desk chair"),
    "phones": ("phone case", "charger", "screen protector"),
    "shoes": ("sneakers", "boots", "sandals", "loafers"),
    "sports": ("yoga mat", "running belt", "dumbbells", "skipping rope"),
    "toys": ("wooden train", "puzzle", "building blocks", "doll"),
}
_ADJECTIVES = ("classic", "everyday", "large", "light", "modern", "premium", "small", "soft", "sturdy", "vintage")
_STYLES = ("black", "blue", "cotton", "green", "grey", "leather", "linen", "oak", "recycled", "red", "steel", "white")
_COUNTRIES, _COUNTRY_SHARES = ("DE", "ES", "FR", "GB", "IT", "NL", "PL", "PT"), (28, 8, 18, 18, 6, 10, 4, 8)
_DEVICES, _DEVICE_SHARES = ("desktop", "phone", "tablet"), (32, 60, 8)
_CHANNELS, _CHANNEL_SHARES = ("ads", "direct", "email", "search", "social"), (13, 35, 12, 30, 10)


def shop_events(
    seed: int = 0,
    *,
    users: int = 2_000,
    items: int = 1_000,
    start: datetime | int = DEFAULT_START_MS,
    events: int | None = None,
) -> Iterator[Event]:
    """The events of a shop, in order of time over all users.

    Of 100 events about 80 are views, 8 searches, 8 additions to the cart, 4 purchases; one purchase in thirteen is sent
    back. All lines of an order have the same time. The quantity of a refund is negative, so that amounts add up.

    Parameters:
        seed: Another seed is another shop: other people, other items, other event ids.
        users: People, some of whom come far more often than others. On average each makes four events a day.
        items: Items on offer, in up to twenty categories.
        start: When the stream begins: an aware `datetime`, or ms since 1970 UTC.
        events: How many events to give; None for a stream without end.

    Raises:
        ValueError: there is nobody, nothing to buy, or no such time.

    Examples:
        >>> [event.type for event in shop_events(seed=7, events=6)]
        ['view', 'view', 'search', 'view', 'view', 'view']
    """
    if users < 1 or items < 1:
        raise ValueError("a shop needs at least one user and one item")
    if isinstance(start, datetime):
        if start.tzinfo is None:
            raise ValueError(f"start needs a time zone: {start!r}")
        start = round(start.timestamp() * 1000)
    if not 0 <= start <= MAX_TIME_MS:
        raise ValueError(f"start is no time since 1970 in ms: {start}")
    return _Shop(seed, users, items, start).run(events)


@dataclass(slots=True, eq=False)
class _Item:
    category: str
    noun: str
    #: Logarithm of the price against the category's middle.
    dearness: float
    #: What an event says about it.
    fields: dict[str, Any]


@dataclass(slots=True, eq=False)
class _User:
    user_id: str
    country: str
    device: str
    #: Favourite categories, the dearest first.
    tastes: list[str]
    #: Where in a category's range of prices they look, 0 to 1.
    level: float
    # Traits that no event tells:
    readiness: float
    thrift: float
    # What they did so far:
    visits: int = 0
    visiting: bool = False
    interest: float = 0.0
    interest_at: int = 0
    bought_at: int | None = None
    cart: list[_Item] = field(default_factory=list)
    cart_at: int = 0


class _Shop:
    """The shop, its people, and an agenda of what is under way. Everything random comes from one generator."""

    def __init__(self, seed: int, users: int, items: int, start: int) -> None:
        self._seed, self._random, self._start = seed, Random(seed), start
        #: Items of each category, the cheapest first.
        self._shelves = self._stock(items)
        self._categories = list(self._shelves)
        self._users = [self._person(number) for number in range(users)]
        self._activity = list(accumulate(self._random.lognormvariate(0.0, 0.6) for _ in range(users)))
        #: (time, tie-breaker, event due at that time or None where a visit begins, what comes after it)
        self._agenda: list[tuple[int, int, Event | None, Iterator[Event]]] = []
        self._entries = 0

    def run(self, events: int | None) -> Iterator[Event]:
        agenda = self._agenda
        arrivals = self._arrivals()
        arrival, user = next(arrivals)
        left = -1 if events is None else events
        while left:
            while not agenda or agenda[0][0] > arrival:
                self._enter(arrival, None, self._visit(user, arrival))
                arrival, user = next(arrivals)
            _, _, event, following = heappop(agenda)
            if event is not None:
                yield event
                left -= 1
            # Only now is it decided what comes next, so that what happened in between can count.
            coming = next(following, None)
            if coming is not None:
                self._enter(coming.time, coming, following)

    def _enter(self, time: int, event: Event | None, following: Iterator[Event]) -> None:
        self._entries += 1
        heappush(self._agenda, (time, self._entries, event, following))

    def _arrivals(self) -> Iterator[tuple[int, _User]]:
        """A Poisson process whose rate follows the hours of the day."""
        busiest = max(_HOURS)
        a_ms = len(self._users) * _VISITS_A_DAY / _DAY * busiest * 24 / sum(_HOURS)
        random, time = self._random.random, float(self._start)
        while True:
            time += self._random.expovariate(a_ms)
            if random() * busiest < _HOURS[int(time) // _HOUR % 24]:
                yield int(time), self._users[bisect(self._activity, random() * self._activity[-1])]

    def _visit(self, user: _User, time: int) -> Iterator[Event]:
        """One visit, event by event; none when the user is here already."""
        if user.visiting:
            return
        random = self._random.random
        user.visiting = True
        user.visits += 1
        n, session = 0, f"{user.user_id}-{user.visits}"
        common: dict[str, Any] = {
            "user_id": user.user_id,
            "session_id": session,
            "country": user.country,
            "device": user.device if random() < 0.85 else self._some(_DEVICES, _DEVICE_SHARES),
            "channel": self._some(_CHANNELS, _CHANNEL_SHARES),
        }
        prefix = f"s{self._seed}-{session}-"
        if time - user.cart_at > _CART_LASTS_MS:
            user.cart.clear()

        category = self._mood(user)
        for _ in range(1 + int(self._random.expovariate(1 / _VIEWS_A_VISIT))):
            if random() < _SEARCHES:
                category = self._mood(user)
                wanted = self._pick(user, category)
                query = wanted.noun if random() < 0.7 else f"{wanted.noun} {category}"
                n += 1
                yield Event(event_id=f"{prefix}{n}", type="search", time=time, query=query, **common)
                time += self._pause()
            elif random() < 0.15:
                category = self._mood(user)
            looks_back = user.cart and random() < _LOOKS_BACK
            item = user.cart[int(random() * len(user.cart))] if looks_back else self._pick(user, category)
            n += 1
            yield Event(event_id=f"{prefix}{n}", type="view", time=time, **item.fields, **common)
            self._look(user, item, time)
            time += self._pause()
            if item not in user.cart and len(user.cart) < _CART_HOLDS and random() < self._takes(user, item):
                user.cart.append(item)
                user.cart_at = time
                n += 1
                yield Event(event_id=f"{prefix}{n}", type="cart", time=time, quantity=1.0, **item.fields, **common)
                time += self._pause()
        if user.cart:
            if random() < self._buys(user, time):
                for item in user.cart[: 1 + int(random() * 4.0)]:
                    n += 1
                    quantity = 1.0 if random() < 0.85 else 2.0
                    order = {**item.fields, **common, "quantity": quantity}
                    yield Event(event_id=f"{prefix}{n}", type="purchase", time=time, **order)
                    if random() < _REFUNDS:
                        self._plan_refund(f"{prefix}{n}-refund", time, order)
                user.cart.clear()
                user.bought_at, user.interest = time, user.interest * 0.3
            elif random() < _RETURNS:
                back = time + round(self._random.expovariate(1 / _RETURNS_AFTER_MS))
                self._enter(back, None, self._visit(user, back))
        user.visiting = False

    def _plan_refund(self, event_id: str, time: int, order: dict[str, Any]) -> None:
        time += _HOUR + round(self._random.expovariate(1 / _REFUNDED_AFTER_MS))
        back = {**order, "quantity": -order["quantity"], "session_id": None}
        refund = Event(event_id=event_id, type="refund", time=time, **back)
        self._enter(time, refund, iter(()))

    def _look(self, user: _User, item: _Item, time: int) -> None:
        kept = 0.5 ** ((time - user.interest_at) / _INTEREST_HALF_LIFE_MS) if user.interest else 0.0
        user.interest = user.interest * kept + (1.0 if item.category in user.tastes else 0.4)
        user.interest_at = time

    def _takes(self, user: _User, item: _Item) -> float:
        """Chance that a viewed item goes into the cart."""
        fits = 1.1 if item.category in user.tastes else 0.0
        return _chance(-4.0 + fits + 0.4 * log1p(user.interest) + 0.4 * user.readiness - user.thrift * item.dearness)

    def _buys(self, user: _User, time: int) -> float:
        """Chance that the cart is bought at the end of a visit."""
        days = 60.0 if user.bought_at is None else (time - user.bought_at) / _DAY
        dearness = sum(item.dearness for item in user.cart) / len(user.cart)
        return _chance(
            -5.9 + user.readiness + 1.5 * log1p(user.interest) + 0.5 * len(user.cart) - user.thrift * dearness
            - 3.0 * exp(-days / 3)
        )  # fmt: skip

    def _mood(self, user: _User) -> str:
        """A category to look around in: mostly a favourite one."""
        if self._random.random() < 0.8:
            # Of three the first is chosen twice as often as the last.
            return user.tastes[int(self._random.random() ** 1.6 * len(user.tastes))]
        return self._random.choice(self._categories)

    def _pick(self, user: _User, category: str) -> _Item:
        """An item of a category, around the user's price level."""
        shelf, random = self._shelves[category], self._random.random
        place = user.level + (random() + random() - 1.0) * 0.5
        return shelf[min(max(int(place * len(shelf)), 0), len(shelf) - 1)]

    def _pause(self) -> int:
        """Time until the user's next event, ms."""
        return 1 + int(-log(1.0 - self._random.random()) * _BETWEEN_EVENTS_MS)

    def _some(self, names: tuple[str, ...], shares: tuple[int, ...]) -> str:
        return self._random.choices(names, shares)[0]

    def _stock(self, items: int) -> dict[str, list[_Item]]:
        random = self._random
        middle = {category: random.lognormvariate(3.4, 0.6) for category in _CATEGORIES}
        categories = list(_CATEGORIES)
        shelves: dict[str, list[_Item]] = {}
        for number in range(items):
            category = categories[number % len(categories)]
            noun = random.choice(_CATEGORIES[category])
            dearness = random.gauss(0.0, 0.5)
            price = round(middle[category] * exp(dearness), 2)
            fields = {
                "item_id": f"i{number:05}",
                "category": category,
                "price": price,
                "currency": "EUR",
                "text": f"{random.choice(_ADJECTIVES)} {random.choice(_STYLES)} {noun}",
            }
            shelves.setdefault(category, []).append(_Item(category, noun, dearness, fields))
        for shelf in shelves.values():
            shelf.sort(key=lambda item: item.dearness)
        return shelves

    def _person(self, number: int) -> _User:
        random = self._random
        return _User(
            user_id=f"u{number:06}",
            country=self._some(_COUNTRIES, _COUNTRY_SHARES),
            device=self._some(_DEVICES, _DEVICE_SHARES),
            tastes=random.sample(self._categories, min(3, len(self._categories))),
            level=random.uniform(0.2, 0.8),
            readiness=random.gauss(0.0, 2.0),
            thrift=random.uniform(0.2, 1.4),
        )


def _chance(logit: float) -> float:
    return 1.0 / (1.0 + exp(-logit))
