"""Settings: where they come from, which source wins, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_profiles.errors import SettingsError
from stream_profiles.mapping import MappingConfig
from stream_profiles.names import Names
from stream_profiles.settings import InputTopic, Settings, load_settings


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def of(toml: str) -> Settings:
    file = Path("my.toml")
    file.write_text(toml)
    return load_settings(file)


def complaint(toml: str) -> str:
    with pytest.raises(SettingsError) as error:
        of(toml)
    assert error.value.exit_code == 2
    return str(error.value)


def test_what_is_given_wins_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("stream_profiles.toml").write_text("partitions = 2\nreplication = 2\nlog_every = '2s'\n")
    monkeypatch.setenv("STREAM_PROFILES_PARTITIONS", "3")
    monkeypatch.setenv("STREAM_PROFILES_REPLICATION", "3")
    settings = load_settings(partitions=4, broker=None)
    assert (settings.partitions, settings.replication, settings.log_every) == (4, 3, "2s")
    assert settings.broker is None


def test_a_named_file_is_read_in_place_of_the_default_one() -> None:
    Path("stream_profiles.toml").write_text("partitions = 2\n")
    assert of("replication = 3\n").partitions == Settings.model_fields["partitions"].default


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_PROFILES_BROKER", "")
    assert load_settings().broker is None


def test_inputs_have_a_default_and_two_ways_to_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().inputs_of(Names("shop")) == [InputTopic(topic="shop-clicks")]
    tables = of(
        '[[inputs]]\ntopic = "a"\n[inputs.mapping.fields]\nuser_id = "u"\n[[inputs]]\ntopic = "b"\nkeyed = true\n'
    )
    assert [source.topic for source in tables.inputs] == ["a", "b"]
    assert tables.inputs[0].mapping == MappingConfig.model_validate({"fields": {"user_id": "u"}})
    assert tables.inputs[1].keyed
    both = [InputTopic(topic="a"), InputTopic(topic="b")]
    assert of('inputs = ["a", "b"]').inputs == both
    assert of('inputs = "a,b"').inputs == both
    monkeypatch.setenv("STREAM_PROFILES_INPUTS", "a, b,")
    assert load_settings().inputs == both


def test_brokers_are_addresses_with_commas_between() -> None:
    for good in ("localhost:9092", "a.b-c:1,d:2", "127.0.0.1:9092", "[::1]:9092"):
        assert load_settings(broker=good).broker == good
    assert load_settings(broker="a:1, b:2").broker == "a:1,b:2"
    for bad in ("localhost", "kafka://localhost:9092", "a:1,,b:2", "a:port", "a:1;b:2", " "):
        with pytest.raises(SettingsError, match="write host:port"):
            load_settings(broker=bad)


def test_a_wrong_redis_url_is_not_shown_for_it_may_hold_a_password() -> None:
    with pytest.raises(SettingsError, match="write redis://host:port/0") as error:
        load_settings(redis="user:secret@host:6379")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("broker = localhost:9092", "my.toml is no TOML file: Invalid value (at line 1, column 10); a text stands in"),
        ('brokr = "a:1"', "my.toml: there is no setting brokr; did you mean 'broker'?"),
        ('[kafka]\nbroker = "a:1"', "my.toml: there is no setting kafka; there are definition, broker, redis"),
        ('partitions = "many"', "my.toml: partitions must be a whole number, not 'many'"),
        ("partitions = 3.5", "my.toml: partitions must be a whole number, not 3.5"),
        ("partitions = 0", "my.toml: partitions must be at least 1, not 0"),
        ("partitions = 5000", "my.toml: partitions must be at most 1024, not 5000"),
        ("definition = 3", "my.toml: definition must be a text in quotes, not 3"),
        ("heartbeat_file = 3", "my.toml: heartbeat_file must be a path in quotes, not 3"),
        ("redis_ttl = '90 dayz'", "my.toml: redis_ttl: '90 dayz' is not a duration; write it like"),
        ("inputs = 3", "my.toml: inputs must be a list, not 3"),
        ("inputs = ['a b']", "my.toml: inputs[0].topic: 'a b' cannot name a topic"),
        ("[[inputs]]\nkeyed = true", "my.toml: inputs[0] lacks 'topic'"),
        ("[[inputs]]\ntopic = 'a'\nkeyd = true", "there is no setting inputs[0].keyd; did you mean 'keyed'?"),
        ("[[inputs]]\ntopic = 'a'\nkeyed = 'maybe'", "inputs[0].keyed must be true or false, not 'maybe'"),
        (
            "[[inputs]]\ntopic = 'a'\n[inputs.mapping.time]\nzon = 'UTC'",
            "inputs[0].mapping.time.zon; did you mean 'zone'?",
        ),
        (
            "[[inputs]]\ntopic = 'a'\n[inputs.mapping.fields]\nusr_id = 'u'",
            "'usr_id' is not a field of an event; did you",
        ),
        ("[[inputs]]\ntopic = 'a'\nkeyed = true\n[inputs.mapping.fields]\nuser_id = 'u'", "leave out the mapping"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_in_a_sentence(toml: str, sentence: str) -> None:
    said = complaint(toml)
    assert sentence in said
    assert "\n" not in said and "pydantic" not in said


def test_a_file_that_is_no_text() -> None:
    Path("my.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"my\.toml is no TOML file"):
        load_settings(Path("my.toml"))
    with pytest.raises(SettingsError, match=r"there is no settings file none\.toml"):
        load_settings(Path("none.toml"))


def test_what_is_wrong_in_the_environment_is_said_with_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("stream_profiles.toml").write_text("partitions = 2\n")
    monkeypatch.setenv("STREAM_PROFILES_PARTITIONS", "many")
    with pytest.raises(
        SettingsError, match=r"^STREAM_PROFILES_PARTITIONS: partitions must be a whole number, not 'many'$"
    ):
        load_settings()


def test_a_variable_with_a_typo_is_an_error_not_an_embedded_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_PROFILES_BROKR", "localhost:9092")
    with pytest.raises(
        SettingsError, match=r"STREAM_PROFILES_BROKR is no setting; did you mean 'STREAM_PROFILES_BROKER'\?"
    ):
        load_settings()


@pytest.mark.parametrize(
    "variable",
    ["CACHE", "REDIS_SERVICE_HOST", "REDIS_SERVICE_PORT_DATA", "REDIS_PORT", "REDIS_PORT_6379_TCP_ADDR"],
)
def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Kubernetes sets some in every container, for every service."""
    monkeypatch.setenv(f"STREAM_PROFILES_{variable}", "tcp://10.0.0.1:6379")
    load_settings()
