"""Does a visit end in a purchase? Models that learn from one finished session after the other, each with its label.

    stream-profiles check examples/online_shoppers_intention.py:intention
    stream-profiles worker --definition examples/online_shoppers_intention.py:intention
    stream-profiles replay online_shoppers_intention.csv.gz \\
      --mapping examples/online_shoppers_intention.toml --name intention

Made for UCI's "Online Shoppers Purchasing Intention": each event is a session of a user of its own, so that a mean over
the user's events is the session's value. The label stands in the event too; no feature reads it. A prediction is made
first, and only then do the models learn from the session.
"""

from stream_profiles import (
    AdaptiveRandomForest,
    Blend,
    Count,
    Given,
    Last,
    LogisticRegression,
    Mean,
    OneHot,
    ProfileDefinition,
    Raw,
    Target,
)

BEHAVIOUR = (
    "administrative",
    "administrative_seconds",
    "informational",
    "informational_seconds",
    "product_related",
    "product_related_seconds",
    "bounce_rate",
    "exit_rate",
    "page_value",
    "special_day",
)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "June", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

BUYS = Given("properties.Revenue")
INPUTS = [
    *BEHAVIOUR,
    "saw_pages_that_sell",
    Raw("weekend"),
    OneHot("month", values=MONTHS),
    OneHot("visitor", values=["Returning_Visitor", "New_Visitor"]),
]
FOREST = AdaptiveRandomForest(trees=15, max_features=0.6)

intention = ProfileDefinition(
    "intention",
    event_types=("session",),
    features=[
        *(Mean(name, of=f"properties.{name}") for name in BEHAVIOUR),
        Count("saw_pages_that_sell", where="properties.page_value > 0"),
        Mean("weekend", of="properties.weekend"),
        Last("month", of="properties.month"),
        Last("visitor", of="properties.VisitorType"),
    ],
    targets=[
        # Of the cheapest model, of the best single one, and of both together.
        Target("buys_linear", label=BUYS, inputs=INPUTS, explain=3),
        Target("buys_forest", label=BUYS, inputs=INPUTS, model=FOREST),
        Target("buys", label=BUYS, inputs=INPUTS, model=Blend([FOREST, LogisticRegression()])),
    ],
)
