"""What the customers of a shop are interested in, told by the titles of what they look at and buy.

    pip install "stream-profiles[text,minilm]"
    stream-profiles check examples/interests.py:interests
    stream-profiles worker --definition examples/interests.py:interests
    stream-profiles replay online_retail.csv.gz --mapping examples/online_retail.toml --name interests

A sentence-transformers model turns each title into a vector, once; a customer's are the fading means of what they met.
Nothing is trained on the labels: a customer is near "Christmas" because the titles of what they buy are.
"""

from stream_profiles import Count, LastN, ProfileDefinition, TextEmbedding

LABELS = (
    *("Christmas decorations", "birthday party", "wedding", "Easter"),
    *("gardening", "kitchen and baking", "tea and coffee", "candles and lighting", "storage boxes", "home decoration"),
    *(
        "children's toys",
        "school and office stationery",
        "bags",
        "jewellery",
        "clothes and shoes",
        "travel and camping",
    ),
    *("vintage style", "sewing and crafts", "sports", "music", "books", "beauty"),
)

interests = ProfileDefinition(
    "interests",
    event_types=("view", "search", "cart", "purchase", "refund"),
    features=[
        Count("events", half_life="30d"),
        LastN("titles", of="text", n=3),
    ],
    embeddings=[
        TextEmbedding(
            "interests",
            of=("text", "query"),
            on=("view", "search", "cart", "purchase"),
            weights={"search": 2, "cart": 3, "purchase": 5},
            half_life=("7d", "90d"),
            labels=LABELS,
            encoder="all-MiniLM-L6-v2",
            # A replay brings a year in a minute: better slow than with texts left out.
            when_full="wait",
        ),
    ],
)
