"""Live profiles of the customers of a web shop that knows them by their invoices: who comes back, and what it is worth.

    stream-profiles check examples/online_retail.py:retail
    stream-profiles worker --definition examples/online_retail.py:retail
    stream-profiles replay online_retail.csv.gz --mapping examples/online_retail.toml --name retail

Made for UCI's "Online Retail": each event is a line of an invoice, a purchase or a refund, whose quantity is negative.
Predictions are made at every invoice, once its last line is in. They look 30 days ahead, so the first 30 days of a
replay teach nothing yet.
"""

from stream_profiles import (
    Baskets,
    Count,
    Happens,
    InterEventTime,
    Last,
    LinearRegression,
    LogisticRegression,
    Mean,
    ProfileDefinition,
    Sqrt,
    Sum,
    Target,
    TimeSince,
    ValueWithin,
)

FADING = ("1d", "3d", "7d", "14d", "30d", "60d", "90d", "180d")
LATELY = ("1d", "3d", "7d", "14d", "30d", "45d", "60d", "90d")

HABITS = ("orders", "rhythm", "units", "mean_price")
STEADY = LogisticRegression(learning_rate=0.003, intercept_rate=0.01, average=1_000)

retail = ProfileDefinition(
    "retail",
    event_types=("purchase", "refund"),
    features=[
        # How many invoices, how large they are, and how long it takes from one to the next.
        Baskets("orders", by="session_id", quantity="quantity", half_life=FADING, window=LATELY),
        InterEventTime(
            "rhythm",
            on="purchase",
            min_gap="1h",
            within=("7d", "14d", "30d", "60d", "90d"),
            log_scale=True,
        ),
        # What they buy, and for how much.
        Sum("units", of="quantity", on="purchase", half_life=FADING),
        Sum("spend", of="amount", on="purchase", half_life=FADING[2:]),
        Mean("mean_price", of="price", on="purchase"),
        Last("country", of="country"),
        # What they send back.
        Count("refunds", on="refund", half_life=FADING),
        Sum("refunded", of="amount", on="refund", half_life=FADING),
        TimeSince("last_refund", on="refund"),
    ],
    targets=[
        # every="1ms": each invoice is an example, whatever came shortly before. Of nobody do more than 50 wait.
        Target(
            "buys_again",
            label=Happens("purchase", within="30d"),
            on="purchase",
            inputs=HABITS,
            model=STEADY,
            every="1ms",
            max_pending=50,
            history=True,
        ),
        Target(
            "returns_something",
            label=Happens("refund", within="30d"),
            on="purchase",
            inputs=[*HABITS, "refunds", "refunded", "last_refund"],
            model=STEADY,
            every="1ms",
            max_pending=50,
            history=True,
        ),
        Target(
            "spends",
            label=ValueWithin("amount", on=("purchase", "refund"), within="30d", scale="sqrt"),
            on="purchase",
            inputs=[Sqrt("spend"), Sqrt("orders_value_mean"), Sqrt("orders_value_last"), Sqrt("refunded_90d")],
            model=LinearRegression(learning_rate=0.0003),
            every="1ms",
            max_pending=50,
        ),
    ],
)
