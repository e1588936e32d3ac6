"""Live profiles of the visitors of a clothing shop, made of nothing but the product pages they look at.

    stream-profiles check examples/eshop_clothing_2008.py:eshop
    stream-profiles worker --definition examples/eshop_clothing_2008.py:eshop
    stream-profiles replay eshop_clothing_2008.csv.gz --mapping examples/eshop_clothing_2008.toml --name eshop

Made for the clickstream of UCI's "Clickstream data for online shopping". It tells no purchases; what it does tell is
where visitors go next. Four times of five that is where they are, so no model is right more often than "the same
again". What one can learn is how sure that is, and where the others go.

What the event contract has no name for, such as a colour, is read as `properties.NAME`.
"""

from stream_profiles import (
    BehaviourEmbedding,
    Count,
    Cross,
    EWMean,
    First,
    Last,
    LogisticRegression,
    MostFrequent,
    Next,
    OneHot,
    ProfileDefinition,
    RecentItems,
    Sessions,
    Target,
    TimeSince,
    TopK,
)

CATEGORIES = ("trousers", "skirts", "blouses", "sale")
PAIRS = [f"{one}|{other}" for one in CATEGORIES for other in CATEGORIES]

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
        # Where the visit began, what it was at most, and what it is at now.
        First("first_category", of="category"),
        MostFrequent("main_category", of="category"),
        Last("category", of="category"),
        Last("country", of="country"),
        # Of each kind, how often it was looked at, and how long ago.
        *(Count(f"viewed_{category}", where=f'category == "{category}"') for category in CATEGORIES),
        *(TimeSince(f"since_{category}", where=f'category == "{category}"') for category in CATEGORIES),
        # How deep in its list of products the last one stands, and how the last kind relates to those before.
        Last("page", of="properties.page"),
        Cross("category_page", of=("category", "page")),
        Cross("category_main", of=("category", "main_category")),
        Cross("category_first", of=("category", "first_category")),
    ],
    targets=[
        Target(
            "next_category",
            label=Next("category", within="30m"),
            inputs=[
                "views_total",
                *(f"viewed_{category}" for category in CATEGORIES),
                *(f"since_{category}" for category in CATEGORIES),
                OneHot("category", values=CATEGORIES),
                OneHot(
                    "category_page", values=[f"{category}|{page}" for category in CATEGORIES for page in range(1, 6)]
                ),
                OneHot("category_main", values=PAIRS),
                OneHot("category_first", values=PAIRS),
            ],
            model=LogisticRegression(learning_rate=0.02, optimizer="adagrad"),
            every="1ms",
        ),
    ],
    embeddings=[BehaviourEmbedding("taste", of="item_id", half_life="7d")],
)
