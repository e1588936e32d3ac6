"""Evaluations of the synthetic shop with a target of each task, and names that only a data set could think of."""

from __future__ import annotations

from pathlib import Path

import msgspec

from stream_profiles import Count, Event, Happens, Last, ProfileDefinition, Segment, Sum, Target
from stream_profiles.dev.shop import shop_events
from stream_profiles.models import Anomaly, Clusters, Next, ValueWithin

#: What may stand in an event, and does harm where it is not made harmless.
STRANGE = ("<script>alert(1)</script>", "$\\frac{1}{0}$ & co", "--> \x00 <svg/onload=x>", "\"quoted\" 'names' 日本語")


def events(count: int = 6_000, seed: int = 1) -> list[Event]:
    return list(shop_events(seed, users=80, items=200, events=count))


def definition() -> ProfileDefinition:
    return ProfileDefinition(
        "shop",
        features=[
            Count("views", on="view", half_life=("1h", "1d")),
            Count("carts", on="cart", half_life="1d"),
            Sum("spend", of="amount", on="purchase", half_life="30d"),
            Last("category", of="category"),
        ],
        targets=[
            Target("buys", label=Happens("purchase", within="1d"), on=("view", "cart"), every="10m"),
            Target("next", label=Next("category", on="view", within="1d"), on="view", every="10m"),
            Target("spends", label=ValueWithin("amount", on="purchase", within="2d"), on="cart", every="1h"),
            Anomaly("odd"),
        ],
        segments=[Segment("fan", where="views.total >= 50"), Clusters("group", inputs=["views", "spend"])],
    )


def strange_events() -> list[Event]:
    """The same, in a shop whose categories have strange names."""
    categories: dict[str, str] = {}
    for event in (renamed := events(2_000)):
        if event.category is not None:
            event.category = categories.setdefault(event.category, STRANGE[len(categories) % len(STRANGE)])
    return renamed


def write(path: Path, lines: list[Event]) -> Path:
    path.write_bytes(b"\n".join(map(msgspec.json.encode, lines)))
    return path
