"""Monitors: a user is judged by what was known before, and the partition's model learns from all."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from stream_profiles import (
    Anomaly,
    Change,
    Clusters,
    Count,
    Event,
    HalfSpaceTrees,
    KMeans,
    Last,
    ProfileDefinition,
    ProfileUpdater,
    Sum,
)
from stream_profiles.errors import DefinitionError, StateError
from stream_profiles.models import DBSTREAM, LogisticRegression
from stream_profiles.models.anomaly import AnomalyModel
from stream_profiles.models.clusters import ClusterModel
from stream_profiles.models.inputs import OneHot, Raw
from stream_profiles.models.monitors import CompiledMonitor, Monitor, Watcher
from stream_profiles.updater import Shared
from tests.events import DAY, HOUR, MINUTE, SECOND, T0, event

FEATURES = [Count("views", on="view"), Sum("spend", of="price", on="purchase"), Last("country", of="country")]


class Running:
    """Says how often it was taught, and notes what it saw."""

    compact = True

    def __init__(self, state: Any) -> None:
        self.examples = state or 0
        self.seen: list[dict[str, float]] = []
        self.taught: list[dict[str, float]] = []

    def predict(self, inputs: dict[str, float]) -> Any:
        self.seen.append(inputs)
        return self.examples

    def learn(self, inputs: dict[str, float]) -> None:
        self.examples += 1
        self.taught.append(inputs)

    def state(self) -> Any:
        return self.examples


class Scores(AnomalyModel):
    def __init__(self) -> None:
        pass

    def _start(self, state: Any) -> Any:
        return Running(state)


class Groups(ClusterModel):
    """Of who was taught three times another group begins."""

    def __init__(self) -> None:
        pass

    def _start(self, state: Any) -> Any:
        running = Running(state)
        running.predict = lambda inputs: running.examples // 3  # type: ignore[method-assign]
        return running


class Watched:
    """Users of one partition, one monitor and what it saw."""

    def __init__(self, monitor: Monitor) -> None:
        self.updater = ProfileUpdater(ProfileDefinition("shop", features=FEATURES, targets=[monitor]))
        self.shared = Shared(self.updater)
        self.states: dict[str, Any] = {}
        self.compiled = self.updater.monitors[0]

    @property
    def watcher(self) -> Watcher:
        return self.shared.watchers[self.compiled.key]

    @property
    def running(self) -> Any:
        return self.watcher.running

    def see(self, *events: Event) -> list[Any]:
        """What each of them published of the monitor's field; None for nothing."""
        published = []
        for each in events:
            state = self.states.setdefault(each.user_id, self.updater.new_state())
            change = self.updater.apply(state, each, self.shared)
            assert isinstance(change, Change) and change.failed == {}
            state.slots = msgspec.msgpack.decode(msgspec.msgpack.encode(state.slots))
            published.append(change.changed.get(self.compiled.name))
        return published


def test_a_score_is_published_at_every_event_it_is_asked_for() -> None:
    watched = Watched(Anomaly("strange", model=Scores(), on="view", every="1h"))
    found = watched.see(event("view", 0), event("purchase", 1), event("view", MINUTE), event("view", HOUR))
    assert found == [
        {"score": 0, "at": T0},
        None,
        {"score": 1, "at": T0 + MINUTE},
        {"score": 1, "at": T0 + HOUR},
    ]
    assert watched.updater.published(watched.states["ada"])["strange"] == found[-1]


def test_who_is_judged_is_no_part_of_what_is_known() -> None:
    watched = Watched(Anomaly("strange", model=Scores(), inputs=["views"], every="1ms"))
    watched.see(event("view", 0), event("view", 1))
    assert watched.running.seen == watched.running.taught
    assert [running["views_total"] for running in watched.running.seen] == pytest.approx([0.6931, 1.0986], abs=1e-4)


def test_a_busy_user_is_learned_from_now_and_then() -> None:
    watched = Watched(Anomaly("strange", model=Scores(), every="1m"))
    watched.see(*(event("view", second * SECOND) for second in (0, 1, 59, 60, 61, 119, 120)))
    assert watched.running.examples == 3
    watched.see(event("view", 30 * SECOND), event("view", 30 * SECOND, "bob"))
    assert watched.running.examples == 4, "a late event is not a minute later; bob is another one"


def test_a_cluster_is_published_when_it_changes() -> None:
    watched = Watched(Clusters("group", model=Groups(), every="1ms"))
    found = watched.see(*(event("view", hour * HOUR) for hour in range(8)))
    assert found == [
        {"cluster": 0, "since": T0},
        None,
        None,
        {"cluster": 1, "since": T0 + 3 * HOUR},
        None,
        None,
        {"cluster": 2, "since": T0 + 6 * HOUR},
        None,
    ]
    assert watched.updater.published(watched.states["ada"])["group"] == found[6]


def test_inputs_may_be_chosen_and_texts_among_them() -> None:
    watched = Watched(
        Anomaly("strange", model=Scores(), on=("view", "purchase"), inputs=[OneHot("country", ["PT"]), Raw("spend")])
    )
    watched.see(event("purchase", 0, price=7.0, country="PT"))
    assert watched.running.seen == [
        {
            "spend_total": 7.0,
            "country=PT": 1.0,
            "country=other": 0.0,
            "type=view": 0.0,
            "type=purchase": 1.0,
        }
    ]


def test_those_who_do_alike_are_in_one_group() -> None:
    watched = Watched(Clusters("group", model=KMeans(clusters=2, seed=3), inputs=["views", "spend"], every="1ms"))
    for number in range(200):
        watched.see(*(event("view", n, f"looks {number}") for n in range(30)))
        watched.see(*(event("purchase", n, f"buys {number}", price=500.0) for n in range(3)))
    groups = {
        kind: {watched.updater.published(watched.states[f"{kind} {n}"])["group"]["cluster"] for n in range(150, 200)}
        for kind in ("looks", "buys")
    }
    assert len(groups["looks"]) == len(groups["buys"]) == 1
    assert groups["looks"] != groups["buys"]


@pytest.mark.parametrize("model", [HalfSpaceTrees(trees=3, window=10), KMeans(clusters=3), DBSTREAM()], ids=repr)
def test_a_restored_watcher_goes_on_bit_for_bit(model: Any) -> None:
    monitor = (Anomaly if isinstance(model, AnomalyModel) else Clusters)("it", model=model)
    kept, again = Watcher(monitor, ("x", "y")), Watcher(monitor, ("x", "y"))
    random_ = random.Random(1)
    for number in range(300):
        inputs = {"x": random_.gauss(0, 1) + 5 * (number % 3), "y": random_.gauss(0, 1)}
        assert again.running.predict(inputs) == kept.running.predict(inputs)
        kept.learn(inputs)
        if number % 50 == 49:
            again = Watcher(monitor, ("x", "y"), msgspec.msgpack.decode(msgspec.msgpack.encode(again.state())))
        # As from a journal.
        again.relearn(msgspec.msgpack.decode(msgspec.msgpack.encode(list(inputs.values()))))
    assert again.running.examples == kept.running.examples == 300


@pytest.mark.parametrize("monitor", [Anomaly("it"), Clusters("it"), Clusters("it", model=DBSTREAM())], ids=repr)
def test_a_state_that_cannot_be_read_is_said(monitor: Monitor) -> None:
    for state in (7, [1], {"a": 1}, [["0.1", b"no pickle", ["x"]], 3]):
        with pytest.raises(StateError):
            Watcher(monitor, ("x",), state)


def test_the_state_of_a_user_has_a_bound() -> None:
    watched = Watched(Anomaly("strange", model=HalfSpaceTrees(trees=2, window=3), every="1ms"))
    for number in range(30):
        watched.see(event("view", number * DAY))
    slot = watched.states["ada"].slots[watched.compiled.key]
    assert len(msgspec.msgpack.encode(slot)) <= watched.compiled.max_bytes


def test_a_monitor_is_its_configuration() -> None:
    monitor = Anomaly("strange", model=HalfSpaceTrees(trees=3), on="view", inputs=["views"], every="1h")
    assert type(monitor)(**monitor.config).key == monitor.key
    assert list(monitor.config) == ["name", "model", "on", "inputs", "every"]
    assert Anomaly("strange").model.config == HalfSpaceTrees().config
    assert Clusters("group").model.config == KMeans().config
    assert Clusters("group").advance({"cluster": 1, "since": T0}, T0 + DAY) == {"cluster": 1, "since": T0}


def test_other_inputs_make_another_monitor() -> None:
    def key(*features: Any, **options: Any) -> str:
        return CompiledMonitor(Clusters("group", **options), features or FEATURES).key

    others = [
        key(Count("views", half_life="1d"), *FEATURES[1:]),
        key(inputs=["views"]),
        key(inputs=[Raw("views")]),
        key(model=KMeans(clusters=3)),
        key(on="view"),
        key(every="2h"),
    ]
    assert len({key(), *others}) == 1 + len(others)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Anomaly("a b"), "'a b' is not a name"),
        (lambda: Anomaly("a", every="often"), "'often' is not a duration"),
        (lambda: Anomaly("a", model=KMeans()), r"""Anomaly\("a"\): model takes a detector such as HalfSpaceTrees"""),  # type: ignore[arg-type]
        (lambda: Clusters("a", model=LogisticRegression()), r"""Clusters\("a"\): model takes a clustering such as"""),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_monitor_is_refused(build: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        build()
