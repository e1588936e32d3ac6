"""A definition with a part of every kind, small enough to meet every limit within days of a little shop."""

from typing import Any

from stream_profiles import (
    ADWIN,
    AdaptiveRandomForest,
    Anomaly,
    BehaviourEmbedding,
    Churn,
    Clusters,
    Count,
    Event,
    HalfSpaceTrees,
    Happens,
    Hash,
    KMeans,
    Last,
    Lifecycle,
    LogisticRegression,
    NaiveBayes,
    Next,
    Persona,
    ProfileDefinition,
    Ratio,
    Segment,
    Sum,
    Target,
    TimeSince,
    TopK,
    ValueWithin,
)
from stream_profiles.features import Feature


class Moody(Feature):
    """A feature of somebody's own, with an error in it."""

    max_bytes = 9

    def update(self, state: Any, event: Event) -> Any:
        if event.item_id is not None and event.item_id.endswith("77"):
            raise ZeroDivisionError("not this item")
        return (state or 0) + 1

    def snapshot(self, state: Any) -> Any:
        return state


shop = ProfileDefinition(
    "shop",
    features=[
        Count("views", on="view", half_life=("1h", "1d"), window=("1h", "2d")),
        Count("purchases", on="purchase", half_life="7d"),
        Sum("spend", of="amount", on=("purchase", "refund"), half_life="7d", window="3d"),
        TopK("categories", of="category", k=3, half_life="2d"),
        Last("device", of="device"),
        TimeSince("last_view", on="view"),
        Lifecycle("life", new="1d", at_risk="2d", lost="4d"),
        Moody("moody"),
        Ratio("buys_per_view", of="purchases.total", to="views.total"),
        Persona(
            "persona",
            sentences=[
                "Is {life.stage}, on a {device}.",
                ("spend.total > 100", "Spent {spend.total:,.0f}."),
                "Likes {categories.top:names}.",
            ],
        ),
    ],
    targets=[
        # The first model is so hasty that another takes its place.
        Target(
            "buys_soon",
            label=Happens("purchase", within="6h"),
            model=LogisticRegression(learning_rate=1.0),
            challengers=[LogisticRegression(learning_rate=0.01), NaiveBayes()],
            promote_after=50,
            drift=ADWIN(delta=0.2, reaction="swap"),
            on=("view", "cart"),
            inputs=["views", "purchases", "spend"],
            every="5m",
            explain=2,
        ),
        # Its state is large, so that lessons are stored.
        Target(
            "goes_on",
            label=Happens("view", within="30m"),
            model=AdaptiveRandomForest(trees=2),
            inputs=["views", "last_view"],
            every="1ms",
        ),
        Target("churns", label=Churn(after="2d"), inputs=["views", "life"], every="12h"),
        Target(
            "spends",
            label=ValueWithin("amount", on="purchase", within="1d", scale="log"),
            on=("view", "purchase"),
            inputs=["views", "purchases"],
            every="2h",
            history=True,
        ),
        Target(
            "category",
            label=Next("category", within="30m", on="view"),
            on="view",
            inputs=[Hash("device", 4), "views"],
            every="1m",
        ),
        Anomaly("unusual", model=HalfSpaceTrees(window=100), inputs=["views", "purchases"]),
    ],
    segments=[
        Segment("busy", where='field("views.last_1h") > 3', every="30m"),
        Segment("promising", where="buys_soon.score > 0.2 and purchases.total < 2"),
        Segment("lost", where='life.stage == "lost"'),
        Clusters("group", model=KMeans(clusters=3), inputs=["views", "purchases"]),
    ],
    embeddings=[BehaviourEmbedding("taste", of="item_id", half_life="7d", dimensions=32)],
)
