"""Live profiles of the visitors of a clothing shop, made of nothing but the product pages they look at.

    stream-profiles check examples/eshop_clothing_2008.py:eshop
    stream-profiles worker --definition examples/eshop_clothing_2008.py:eshop
    stream-profiles replay eshop_clothing_2008.csv.gz --mapping examples/eshop_clothing_2008.toml --name eshop

Made for the clickstream of UCI's "Clickstream data for online shopping", which tells no purchases: there is nothing to
predict, so there is no target. What the event contract has no name for, such as a colour, is read as `properties.NAME`.
"""

from stream_profiles import (
    BehaviourEmbedding,
    Count,
    EWMean,
    First,
    Last,
    ProfileDefinition,
    RecentItems,
    Sessions,
    TopK,
)

eshop = ProfileDefinition(
    "eshop",
    event_types=("view",),
    features=[
        Count("views", half_life="1d"),
        Sessions("sessions", gap="30m"),
        # What was looked at: by kind, by colour, and whether at the dearer half of each kind.
        TopK("categories", of="category", k=4, half_life="7d"),
        TopK("colours", of="properties.colour", k=3, half_life="7d"),
        TopK("above_average_price", of="properties.above_average_price", k=2, half_life="7d"),
        EWMean("price", of="price", half_life="7d"),
        RecentItems("recent_items", n=10),
        # Where the visit began, and what it is at now.
        First("first_category", of="category"),
        Last("category", of="category"),
        Last("country", of="country"),
    ],
    embeddings=[BehaviourEmbedding("taste", of="item_id", half_life="7d")],
)
