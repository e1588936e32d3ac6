"""How good the predictions of examples/online_retail.py are, next to what is done without features made for it.

    stream-profiles evaluate online_retail.csv.gz --mapping examples/online_retail.toml \
        --definition benchmarks/predictions.py:compared

The peers are River's logistic regression on raw counts, as a tutorial would have it: of invoices, their lines, refunds
and active days. It does not standardise its inputs; the other peer does.
"""

from pathlib import Path

from river import linear_model, preprocessing

from stream_profiles import ActiveDays, Count, Happens, ProfileDefinition, Raw, RiverModel, Target
from stream_profiles.definition import load_definition

retail = load_definition(f"{Path(__file__).parents[1] / 'examples' / 'online_retail.py'}:retail")

COUNTS = [Raw("orders_total"), Raw("lines"), Raw("refunds_total"), Raw("active_days")]
WAITS = {"on": "purchase", "every": "1ms", "max_pending": 50}


def peer(name: str, awaited: str, *, scaled: bool) -> Target:
    """Learns from counts what another target learns from the profile."""
    regression = linear_model.LogisticRegression()
    model = RiverModel(preprocessing.StandardScaler() | regression if scaled else regression)
    return Target(name, label=Happens(awaited, within="30d"), inputs=COUNTS, model=model, **WAITS)


compared = ProfileDefinition(
    "compared",
    event_types=retail.event_types,
    features=[*retail.features, Count("lines", on="purchase"), ActiveDays("active_days", on="purchase")],
    targets=[
        *retail.targets,
        peer("buys_again_raw", "purchase", scaled=False),
        peer("buys_again_scaled", "purchase", scaled=True),
        peer("returns_something_raw", "refund", scaled=False),
        peer("returns_something_scaled", "refund", scaled=True),
    ],
)
