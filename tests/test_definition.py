"""A wrong definition is told apart when it is built, in a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stream_profiles import (
    Anomaly,
    BehaviourEmbedding,
    Churn,
    Clusters,
    Count,
    Happens,
    HappensBefore,
    Last,
    LogisticRegression,
    ProfileDefinition,
    Ratio,
    Segment,
    Sum,
    Target,
    TextEmbedding,
)
from stream_profiles.definition import described_features, load_definition
from stream_profiles.errors import DefinitionError

VIEWS = Count("views", on="view", half_life="1d")
BUYS = Happens("purchase", within="1d")
INTERESTS = TextEmbedding("interests", half_life=("1d", "30d"), weights={"purchase": 5})
FOLDER = Path(__file__).resolve().parents[1] / "examples"


def test_the_least_a_definition_can_be() -> None:
    shop = ProfileDefinition("shop", features=[VIEWS])
    assert shop.field_names == ["views"]
    assert (shop.event_types, shop.lateness_ms, shop.dedup) == (None, 7 * 86_400_000, 32)
    assert repr(shop) == 'ProfileDefinition("shop")'


def test_fields_are_features_targets_monitors_segments_embeddings() -> None:
    shop = ProfileDefinition(
        "shop",
        embeddings=[BehaviourEmbedding("taste")],
        segments=[Clusters("group"), Segment("fan", where="views.total > 2")],
        targets=[Anomaly("strange"), Target("buys", label=BUYS)],
        features=[VIEWS],
    )
    assert shop.field_names == ["views", "buys", "strange", "group", "fan", "taste"]
    assert [target.name for target in shop.targets] == ["buys"]
    assert [monitor.name for monitor in shop.monitors] == ["strange", "group"]
    assert [segment.name for segment in shop.segments] == ["fan"]


def test_a_text_embedding_is_a_field_and_so_is_each_of_its_vectors() -> None:
    shop = ProfileDefinition("shop", features=[VIEWS], embeddings=[INTERESTS, BehaviourEmbedding("taste")])
    assert shop.field_names == ["views", "interests", "taste", "interests_1d", "interests_30d"]
    assert shop.text_embeddings == [INTERESTS]
    # It is enough for a profile.
    assert ProfileDefinition("shop", embeddings=[TextEmbedding("words")]).field_names == ["words", "words_30d"]


def test_text_embeddings_may_share_an_encoder() -> None:
    encoder = Encoder()
    shop = ProfileDefinition(
        "shop",
        embeddings=[
            *(TextEmbedding(name, encoder=encoder) for name in ("a", "b")),
            TextEmbedding("c", encoder="hashing"),
            TextEmbedding("d", encoder="hashing-384"),
        ],
    )
    assert [embedding.encoder_name for embedding in shop.text_embeddings] == ["own", "own", *2 * ["hashing-384"]]


def test_event_types_are_those_of_all_fields() -> None:
    ProfileDefinition("shop", embeddings=[INTERESTS], event_types=["view", "purchase"])
    ProfileDefinition(
        "shop",
        features=[VIEWS],
        targets=[Target("back", label=Churn(after="7d")), Anomaly("strange", on="view")],
        segments=[Segment("fan", where="views.total > 2")],
        event_types=["view"],
    )


def test_lateness_may_be_a_timedelta() -> None:
    assert ProfileDefinition("shop", features=[VIEWS], lateness=timedelta(hours=1)).lateness_ms == 3_600_000


class Encoder:
    """An encoder of a user's own."""

    name, dimension = "own", 16

    def encode(self, batch: Any) -> Any:
        raise AssertionError("a definition asks no encoder")


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: ProfileDefinition("Shop", features=[VIEWS]), "'Shop' cannot name a definition: use small letters"),
    (lambda: ProfileDefinition("", features=[VIEWS]), "'' cannot name a definition"),
    (lambda: ProfileDefinition("a shop", features=[VIEWS]), "cannot name a definition"),
    (lambda: ProfileDefinition("s" * 64, features=[VIEWS]), "cannot name a definition"),
    (lambda: ProfileDefinition(None, features=[VIEWS]), "None cannot name a definition"),  # type: ignore[arg-type]
    (lambda: ProfileDefinition("shop"), r'ProfileDefinition\("shop"\) is empty: give it at least one feature'),
    (lambda: ProfileDefinition("shop", features=[VIEWS, Last("views", of="price")]), "'views' is given to two fields"),
    (
        lambda: ProfileDefinition("shop", features=[VIEWS], embeddings=[BehaviourEmbedding("views")]),
        "'views' is given to two fields",
    ),
    (lambda: ProfileDefinition("shop", features=[VIEWS], dedup=-1), "dedup must be from 0 to 1024, not -1"),
    (lambda: ProfileDefinition("shop", features=[VIEWS], dedup=1025), "dedup must be from 0 to 1024"),
    (lambda: ProfileDefinition("shop", features=[VIEWS], lateness="a week"), "'a week' is not a duration"),
    (
        lambda: ProfileDefinition("shop", features=[VIEWS, Target("buys", label=BUYS)]),  # type: ignore[list-item]
        r'ProfileDefinition\("shop"\): Target\("buys"\) cannot stand in features=\[...\]',
    ),
    (
        lambda: ProfileDefinition("shop", targets=[VIEWS]),  # type: ignore[list-item]
        r'Count\("views"\) cannot stand in targets=\[...\]',
    ),
    (
        lambda: ProfileDefinition("shop", embeddings=["taste"]),  # type: ignore[list-item]
        r"'taste' cannot stand in embeddings=\[...\]",
    ),
    (
        lambda: ProfileDefinition("shop", features=[VIEWS], event_types=["views", "purchase"]),
        r"""Count\("views"\) waits for events of type 'view', which event_types does not have; did you mean 'views'""",
    ),
    (
        lambda: ProfileDefinition("shop", features=[VIEWS], event_types=[]),
        "waits for events of type 'view', which event_types does not have$",
    ),
    (
        lambda: ProfileDefinition(
            "shop", features=[VIEWS], targets=[Target("buys", label=BUYS)], event_types=["view", "purchases"]
        ),
        r"""Target\("buys"\) waits for events of type 'purchase', which event_types does not have; did you mean""",
    ),
    (
        lambda: ProfileDefinition("shop", features=[VIEWS], targets=[Target("buys", label=BUYS, inputs=["view"])]),
        r"""Target\("buys"\): inputs names 'view', which is no feature of this definition; did you mean 'views'\?""",
    ),
    (
        lambda: ProfileDefinition(
            "shop",
            features=[VIEWS, Last("country", of="country")],
            targets=[Target("buys", label=BUYS, inputs=["country"])],
        ),
        r"""Target\("buys"\): Last\("country"\) has no numbers to give to a model""",
    ),
    (
        lambda: ProfileDefinition(
            "shop", features=[Last("country", of="country")], targets=[Target("buys", label=BUYS)]
        ),
        r"""Target\("buys"\) has no inputs: the definition has no feature with numbers""",
    ),
    (
        lambda: ProfileDefinition(
            "shop",
            features=[VIEWS],
            targets=[Target("buys", label=HappensBefore("view", before="refunds", within="1d"))],
            event_types=["view", "refund"],
        ),
        r"""Target\("buys"\) waits for events of type 'refunds', which event_types does not have; did you""",
    ),
    (
        lambda: ProfileDefinition("shop", features=[VIEWS], targets=[Anomaly("odd", on="buy")], event_types=["view"]),
        r"""Anomaly\("odd"\) waits for events of type 'buy', which event_types does not have""",
    ),
    (
        lambda: ProfileDefinition("shop", features=[VIEWS], targets=[Anomaly("odd", inputs=["view"])]),
        r"""Anomaly\("odd"\): inputs names 'view', which is no feature of this definition; did you mean 'views'\?""",
    ),
    (
        lambda: ProfileDefinition("shop", features=[Last("country", of="country")], segments=[Clusters("group")]),
        r"""Clusters\("group"\) has no inputs: the definition has no feature with numbers""",
    ),
    (
        lambda: ProfileDefinition("shop", features=[VIEWS], targets=[Segment("fan", where="views.total > 2")]),  # type: ignore[list-item]
        r"""Segment\("fan"\) cannot stand in targets=\[...\]""",
    ),
    (
        lambda: ProfileDefinition("shop", features=[VIEWS], segments=[Target("buys", label=BUYS)]),  # type: ignore[list-item]
        r"""Target\("buys"\) cannot stand in segments=\[...\]""",
    ),
    (
        lambda: ProfileDefinition("shop", features=[VIEWS], segments=[Segment("views", where="views.total > 2")]),
        "'views' is given to two fields",
    ),
    (
        lambda: ProfileDefinition("shop", features=[VIEWS, Ratio("rate", of="view.total", to="views.total")]),
        r"""Ratio\("rate"\) speaks of 'view', which is no field of this definition; did you mean 'views'\?""",
    ),
    (
        lambda: ProfileDefinition("shop", embeddings=[INTERESTS], event_types=["view", "purchases"]),
        r"""TextEmbedding\("interests"\) waits for events of type 'purchase', which event_types does not have; did""",
    ),
    (
        lambda: ProfileDefinition("shop", embeddings=[TextEmbedding("words", on="read")], event_types=["view"]),
        r"""TextEmbedding\("words"\) waits for events of type 'read', which event_types does not have$""",
    ),
    (
        lambda: ProfileDefinition("shop", features=[Count("interests_1d")], embeddings=[INTERESTS]),
        "'interests_1d' is given to two fields",
    ),
    (
        lambda: ProfileDefinition("shop", embeddings=[INTERESTS, TextEmbedding("interests_1d")]),
        "'interests_1d' is given to two fields",
    ),
    (
        lambda: ProfileDefinition("shop", features=[INTERESTS]),  # type: ignore[list-item]
        r'TextEmbedding\("interests"\) cannot stand in features=\[...\]',
    ),
    (
        lambda: ProfileDefinition("shop", embeddings=[TextEmbedding(n, encoder=Encoder()) for n in ("a", "b")]),
        r"""TextEmbedding\("a"\) and TextEmbedding\("b"\) have two encoders called 'own': give them the same one""",
    ),
    (
        lambda: ProfileDefinition(
            "shop", embeddings=[TextEmbedding(n, encoder=f"/{n}/m", dimension=16) for n in ("a", "b")]
        ),
        "have two encoders called 'm'",
    ),
    (lambda: TextEmbedding("an interest"), "'an interest' is not a name"),
    (
        lambda: TextEmbedding("i", of="txt"),
        r"""TextEmbedding\("i"\): an event has no field 'txt'; did you mean 'text'""",
    ),
    (lambda: TextEmbedding("i", encoder="some-model"), "how long the vectors of 'some-model' are: dimension="),
    (lambda: Count("_views"), "'_views' is not a name: use letters, digits and _, and no _ at the start"),
    (lambda: Count("page views"), "'page views' is not a name"),
    (lambda: Count(""), "'' is not a name"),
    (lambda: Count(7), "7 is not a name"),  # type: ignore[arg-type]
    (lambda: Target("_buys", label=BUYS), "'_buys' is not a name"),
    (lambda: BehaviourEmbedding("a taste"), "'a taste' is not a name"),
    (lambda: Count("views", on=[]), r'Count\("views"\): on= takes an event type or a list of them'),
    (lambda: Count("views", on=["view", ""]), "on= takes an event type or a list of them"),
    (lambda: Count("views", half_life="soon"), "'soon' is not a duration; write it like"),
    (lambda: Sum("spend", of="prise"), r"""Sum\("spend"\): an event has no field 'prise'; did you mean 'price'\?"""),
    (lambda: Happens("purchase", within="soon"), "'soon' is not a duration"),
    (lambda: LogisticRegression(learning_rate=0), "learning_rate must be above 0"),
]


@pytest.mark.parametrize(("build", "message"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_what_is_wrong_with_it(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message) as raised:
        build()
    assert raised.value.exit_code == 2


def test_a_description_is_json_that_rebuilds_the_features() -> None:
    shop = ProfileDefinition(
        "shop",
        features=[VIEWS, Sum("spend", of="amount", on=["purchase", "refund"], half_life=timedelta(days=30))],
        targets=[Target("buys", label=BUYS, model=LogisticRegression(0.5))],
        segments=[Segment("fan", where="views.total > 2"), Clusters("group", every="1h")],
        embeddings=[BehaviourEmbedding("taste")],
    )
    described = msgspec.json.decode(msgspec.json.encode(shop.describe()))
    assert described["name"] == "shop"
    assert {name: field["kind"] for name, field in described["fields"].items()} == {
        "views": "Count",
        "spend": "Sum",
        "buys": "Target",
        "group": "Clusters",
        "fan": "Segment",
        "taste": "BehaviourEmbedding",
    }
    assert described["fields"]["buys"]["config"]["label"] == {
        "kind": "Happens",
        "config": {"type": "purchase", "within": "1d"},
    }
    assert described["fields"]["group"]["config"]["model"]["kind"] == "KMeans"
    rebuilt = described_features(described)
    assert {name: feature.key for name, feature in rebuilt.items()} == {f.name: f.key for f in shop.features}


def test_a_description_says_of_text_vectors_what_a_reader_needs() -> None:
    interests = TextEmbedding("interests", half_life=("1d", "30d"), on="view", labels=["tea"], encoder=Encoder())
    shop = ProfileDefinition("shop", features=[VIEWS], embeddings=[interests])
    described = msgspec.json.decode(msgspec.json.encode(shop.describe()))
    fields = described["fields"]
    assert list(fields) == ["views", "interests", "interests_1d", "interests_30d"]
    assert {name: field["kind"] for name, field in fields.items()} == {
        "views": "Count",
        "interests": "TextInterests",
        "interests_1d": "TextEmbedding",
        "interests_30d": "TextEmbedding",
    }
    assert fields["interests_30d"]["config"] == {
        "summary": "interests",
        "half_life": "30d",
        "on": ["view"],
        "encoder": "own",
        "dimension": 16,
    }
    said = fields["interests"]["config"]
    assert (said["encoder"], said["labels"], said["half_life"]) == ("own", ["tea"], ["1d", "30d"])
    assert list(described_features(described)) == ["views"]


def test_a_reader_passes_over_kinds_it_does_not_know() -> None:
    fields = {"views": {"kind": "Count", "config": VIEWS.config}, "x": {"kind": "Horoscope", "config": {"of": "time"}}}
    fields |= {"y": {"kind": "decay", "config": {}}, "z": {"kind": "__doc__", "config": {}}}
    assert list(described_features({"name": "shop", "fields": fields})) == ["views"]


GOOD = """
from stream_profiles import Count, ProfileDefinition
shop = ProfileDefinition("shop", features=[Count("views")])
"""


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_definition_is_loaded_by_path_and_name(tmp_path: Path) -> None:
    place = write(tmp_path, "my_shop.py", GOOD)
    assert load_definition(f"{place}:shop").name == "shop"
    assert load_definition(place).name == "shop", "there is only one"


def test_a_definition_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    write(tmp_path, "beside_my_shop.py", "from stream_profiles import Count\nviews = Count('views')\n")
    place = write(
        tmp_path,
        "my_other_shop.py",
        "from beside_my_shop import views\nfrom stream_profiles import ProfileDefinition\n"
        "shop = ProfileDefinition('shop', features=[views])\n",
    )
    assert load_definition(place).field_names == ["views"]


def test_a_definition_is_loaded_from_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a_shop_module.py", GOOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_definition("a_shop_module:shop").name == "shop"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("{folder}/none.py:shop", "there is no file .*none.py; give the definition as path/to/file.py:variable"),
        ("{folder}:shop", "for a file write its path with .py"),
        ("no_such_module:shop", "there is no module 'no_such_module'; for a file write its path with .py"),
        ("stream_profiles.no_such_module:shop", "there is no module 'stream_profiles.no_such_module'"),
        ("stream_profiles:shop", r"stream_profiles has no profile definition 'shop' \(it has none\)"),
    ],
)
def test_what_is_not_there(tmp_path: Path, reference: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        load_definition(reference.format(folder=tmp_path))


@pytest.mark.parametrize(
    ("text", "variable", "message"),
    [
        ("x = 1\ndef broken(:\n", ":shop", r"file\.py:2 does not run: SyntaxError"),
        ("x = 1\n\nshop = 1 / 0\n", ":shop", r"file\.py:3 does not run: ZeroDivisionError: division by zero"),
        ("import no_such_library\n", "", r"needs the module 'no_such_library', which is not installed"),
        (
            "from stream_profiles import NoSuch\n",
            "",
            r"file\.py:1 does not run: ImportError: cannot import name 'NoSuch'",
        ),
        (GOOD + "ProfileDefinition('Shop')\n", "", "^'Shop' cannot name a definition"),
        (GOOD, ":shopp", r"has no profile definition 'shopp' \(it has shop\); did you mean 'shop'\?"),
        (GOOD, ":Count", r"has no profile definition 'Count' \(it has shop\)"),
        (
            GOOD + "other = ProfileDefinition('o', features=[Count('x')])\n",
            "",
            r"say which definition .* \(it has other, shop\)",
        ),
        ("x = 1\n", "", r"say which definition of .*file\.py to run, as in .*file\.py:NAME \(it has none\)"),
    ],
)
def test_what_is_wrong_with_the_file(tmp_path: Path, text: str, variable: str, message: str) -> None:
    place = write(tmp_path, "file.py", text)
    with pytest.raises(DefinitionError, match=message) as raised:
        load_definition(place + variable)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_the_examples_are_definitions(path: Path) -> None:
    definition = load_definition(str(path))
    assert definition.event_types
    described = msgspec.json.decode(msgspec.json.encode(definition.describe()))
    assert described_features(described).keys() == {feature.name for feature in definition.features}
