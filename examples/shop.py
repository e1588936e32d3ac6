"""Live profiles of a shop's customers: what they look at, what they spend, what they like, and whether they buy soon.

    stream-profiles check examples/shop.py:shop
    stream-profiles worker --definition examples/shop.py:shop

Made for events of the types view, search, cart, purchase and refund, with an item, a category and a price; a field that
an event lacks is no trouble. The quantity of a refund is negative, so that amounts add up to what was really spent.
"""

from stream_profiles import (
    BehaviourEmbedding,
    Count,
    EWMean,
    First,
    Happens,
    Last,
    Lifecycle,
    ProfileDefinition,
    RecentItems,
    Segment,
    Sessions,
    Sum,
    Target,
    TextEmbedding,
    TimeSince,
    TopK,
)

# What they read and search for, as a vector that searches can use. Words that look alike are near each other; with
# encoder="all-MiniLM-L6-v2" those that mean the same are too (see interests.py).
INTERESTS = TextEmbedding(
    "interests",
    of=("text", "query"),
    on=("view", "search", "cart", "purchase"),
    weights={"search": 2, "cart": 3, "purchase": 5},
    half_life=("1d", "30d"),
)

shop = ProfileDefinition(
    "shop",
    event_types=("view", "search", "cart", "purchase", "refund"),
    features=[
        # How much they do: since ever, and fading by half in an hour, a day, a month.
        Count("views", on="view", half_life=("1h", "1d", "30d")),
        Count("searches", on="search", half_life="1d"),
        Count("carts", on="cart", half_life=("1h", "1d")),
        Count("purchases", on="purchase", half_life=("1d", "30d")),
        TimeSince("last_purchase", on="purchase"),
        Sessions("sessions", gap="30m"),
        # New, active, at risk, lost: it changes by the clock too, when nothing of them arrives.
        Lifecycle("stage", new="7d", at_risk="30d", lost="90d"),
        # Money: what they spend, and at what price level they look and buy.
        Sum("spend", of="amount", on=("purchase", "refund"), half_life="30d"),
        EWMean("price", of="price", on=("view", "cart", "purchase"), half_life="7d"),
        # Where they came from first, and where they are now.
        First("first_channel", of="channel"),
        Last("country", of="country"),
        Last("device", of="device"),
        # What they like, and what they had in their hands last.
        TopK("categories", of="category", on=("view", "cart", "purchase"), k=5, half_life="7d"),
        TopK("searched", of="query", on="search", k=5, half_life="30d"),
        RecentItems("recent_items", on=("view", "cart", "purchase"), n=10),
    ],
    targets=[
        # Scored at every view, addition to the cart and purchase; what then happens is learned from every ten minutes.
        Target(
            "buys_soon",
            label=Happens("purchase", within="1d"),
            on=("view", "cart", "purchase"),
            inputs=("views", "carts", "purchases", "last_purchase", "spend"),
            every="10m",
            explain=3,
        ),
    ],
    segments=[
        # Who enters or leaves is in a delta at once.
        Segment("likely_buyer", where="buys_soon.score > 0.2"),
    ],
    embeddings=[
        # Customers who meet the same items point the same way.
        BehaviourEmbedding("taste", of="item_id", on=("view", "cart", "purchase"), half_life="30d"),
        INTERESTS,
    ],
)
