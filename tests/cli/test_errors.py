"""What a new user gets wrong: exit code 2 (1 when the world is wrong, not the user) and one sentence that says what
to change. Never a traceback, and nothing is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_profiles.cli import Part
from stream_profiles.engine.worker import Role

from .conftest import Ended, Run

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "shop.py"
SAMPLE = ROOT / "tests" / "data" / "online_retail_sample.csv"
# Nothing listens there.
NOWHERE = ("--broker", "127.0.0.1:1", "--redis", "redis://127.0.0.1:1/0")


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("a server was started")

    monkeypatch.setattr("stream_profiles.dev.servers.embedded_servers", start)
    monkeypatch.setattr("stream_profiles.cli.demo.embedded_servers", start)


def assert_one_sentence(ended: Ended, *parts: str, code: int = 2) -> None:
    assert ended.code == code, ended
    assert ended.err.startswith("error: ") and ended.err.endswith("\n")
    assert ended.err.count("\n") == 1, "more than one line, or wrapped"
    for part in parts:
        assert part in ended.err


# -- definitions -----------------------------------------------------------------------------------------------------

IMPORT = "from stream_profiles import Count, ProfileDefinition, Sum\n"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            'p = ProfileDefinition("shop", features=[\n  Count("views", halflife="1d"),\n])',
            "shop.py:3: Count takes no argument 'halflife'; did you mean 'half_life'?",
        ),
        ('p = ProfileDefinition("shop", features=[Count(on="view")])', "shop.py:2: Count needs the argument 'name'"),
        ('p = ProfileDefinition("shop", featurs=[])', "shop.py:2: ProfileDefinition takes no argument 'featurs'"),
        ('p = ProfileDefinition("shop", features=[Sum("s", of="pric")])', "did you mean 'price'?"),
        ('p = ProfileDefinition("shop", features=[Count("v", half_life="1x")])', "shop.py:2: '1x' is not a duration"),
        ('p = ProfileDefinition("shop", features=[Count("v"]', "shop.py:2 is not Python: closing parenthesis"),
        ("p = ProfileDefinition('shop', features=[Cuont('v')])", "'Cuont' is not defined; did you mean 'Count'?"),
        (
            "p = ProfileDefinition('shop', features=[TopK('v')])",
            "'TopK' is not defined; import it from stream_profiles",
        ),
        ("from stream_profiles import TopKay", "shop.py:2: stream_profiles has no 'TopKay'; did you mean 'TopK'?"),
        ("import no_such_module", "shop.py:2 needs the module 'no_such_module', which is not installed"),
        ("1 / 0", "shop.py:2 does not run: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "shop.py ends the program (3): a definition only declares"),
        ("", "say which definition of shop.py to run, as in shop.py:NAME (it has none)"),
    ],
)
@pytest.mark.parametrize("command", [("check",), ("worker", *NOWHERE, "-d")], ids=["check", "worker"])
def test_what_is_wrong_in_a_definition_is_said_with_its_line(
    run: Run, tmp_path: Path, source: str, sentence: str, command: tuple[str, ...]
) -> None:
    (tmp_path / "shop.py").write_text(f"{IMPORT}{source}\n")
    assert_one_sentence(run(*command, "shop.py"), sentence)


def test_an_error_in_what_a_definition_imports_is_said_with_the_line_that_imports_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken_beside.py").write_text("1 / 0\n")
    (tmp_path / "shop.py").write_text("import broken_beside\n")
    assert_one_sentence(run("check", "shop.py"), "shop.py:1 does not run: ZeroDivisionError")


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("nofile.py:shop", "there is no file nofile.py; give the definition as path/to/file.py:variable"),
        (f"{SHOP}:shpo", "has no profile definition 'shpo' (it has shop); did you mean 'shop'?"),
        ("no_such_module:shop", "there is no module 'no_such_module'; for a file write its path with .py"),
    ],
)
def test_a_definition_that_is_not_there(run: Run, reference: str, sentence: str) -> None:
    assert_one_sentence(run("check", reference), sentence)
    assert_one_sentence(run("worker", "--definition", reference), sentence)
    assert_one_sentence(run("demo", "--definition", reference), sentence)


@pytest.mark.parametrize("command", [("worker",), ("get", "ada"), ("tail",), ("replay", SAMPLE), ("topics", "check")])
def test_no_definition_at_all(run: Run, command: tuple[str, ...]) -> None:
    redis = ("--redis", "redis://127.0.0.1:1/0") if command[0] in ("worker", "get", "tail") else ()
    broker = ("--broker", "127.0.0.1:1") if command[0] != "get" else ()
    assert_one_sentence(run(*command, *redis, *broker), "say which profiles", "STREAM_PROFILES_DEFINITION")


# -- settings --------------------------------------------------------------------------------------------------------


def test_wrong_settings_are_said_before_anything_runs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "stream_profiles.toml"
    file.write_text('brokr = "localhost:9092"\n')
    assert_one_sentence(run("worker"), "stream_profiles.toml: there is no setting brokr; did you mean 'broker'?")
    file.unlink()
    assert_one_sentence(run("worker", "--config", "other.toml"), "there is no settings file other.toml")
    assert_one_sentence(run("worker", "--broker", "localhost"), "write host:port")
    monkeypatch.setenv("STREAM_PROFILES_BROKR", "localhost:9092")
    assert_one_sentence(run("worker"), "the environment variable STREAM_PROFILES_BROKR is no setting")


@pytest.mark.parametrize("words", [("chek",), ("worker", "--definiton", "x"), ("worker", "--only", "both"), ("get",)])
def test_wrong_usage(run: Run, words: tuple[str, ...]) -> None:
    ended = run(*words)
    assert ended.code == 2 and "Traceback" not in ended.err and "Try '" in ended.err


def test_worker_offers_the_roles_there_are() -> None:
    assert [part.value for part in Part] == [role.value for role in Role]


# -- servers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("get", "ada"), ("tail",)])
def test_no_server_is_named_and_none_runs_here(run: Run, command: tuple[str, ...]) -> None:
    assert_one_sentence(run(*command, "--name", "shop"), "no Redis is named", "--redis", "STREAM_PROFILES_REDIS")


@pytest.mark.parametrize("command", [("replay", SAMPLE), ("topics", "create"), ("topics", "check")])
def test_no_broker_is_named_and_none_runs_here(run: Run, command: tuple[str, ...]) -> None:
    assert_one_sentence(run(*command, "--name", "shop"), "no Kafka is named", "--broker", "STREAM_PROFILES_BROKER")


def test_the_note_of_a_worker_that_was_killed_is_no_server(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / ".stream_profiles"
    folder.mkdir()
    # No process has this number: Linux gives out 4,194,304 at most.
    (folder / "servers.json").write_text('{"redis": {"address": "redis://127.0.0.1:1/0", "pid": 999999999}}')
    assert_one_sentence(run("get", "ada", "--name", "shop"), "no Redis is named")
    (folder / "servers.json").write_text("no JSON")
    assert_one_sentence(run("get", "ada", "--name", "shop"), "no Redis is named")


def test_redis_does_not_answer(run: Run) -> None:
    ended = run("get", "ada", "--name", "shop", "--redis", "redis://127.0.0.1:1/0")
    assert_one_sentence(ended, "Redis at 127.0.0.1:1 does not answer", code=1)


def test_kafka_does_not_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = ROOT / "examples" / "online_retail.toml"
    monkeypatch.setattr("stream_profiles.replay.transport.START_SECONDS", 0.5)
    ended = run("replay", SAMPLE, "-m", mapping, "--name", "shop", "--broker", "127.0.0.1:1")
    assert_one_sentence(ended, "no Kafka broker answers at 127.0.0.1:1", code=1)


# -- files -----------------------------------------------------------------------------------------------------------


def test_files_that_cannot_be_replayed(run: Run, tmp_path: Path) -> None:
    def replay(*words: str | Path) -> Ended:
        return run("replay", "--name", "shop", "--broker", "127.0.0.1:1", *words)

    assert_one_sentence(replay("nofile.csv"), "there is no file nofile.csv")
    assert_one_sentence(replay(SAMPLE), "no column 'user_id'", "--mapping FILE.toml says how rows become events")
    assert_one_sentence(replay(SAMPLE, "-m", "none.toml"), "there is no mapping file none.toml")
    eshop = ROOT / "examples" / "eshop_clothing_2008.toml"
    assert_one_sentence(replay(SAMPLE, "-m", eshop), 'set delimiter = "," in the [source] of the mapping')
    (tmp_path / "bad.toml").write_text('[feilds]\nuser_id = "CustomerID"\n')
    assert_one_sentence(replay(SAMPLE, "-m", "bad.toml"), "feilds", "fields")
    assert_one_sentence(replay(SAMPLE, "--speed", "-1"), "the speed of a replay is a number above 0")


def test_a_demo_finds_what_is_wrong_before_it_starts_anything(run: Run, tmp_path: Path) -> None:
    assert_one_sentence(run("demo", "--data", "nofile.csv"), "there is no file nofile.csv")
    assert_one_sentence(run("demo", "--mapping", "m.toml"), "--mapping is about a file: give --data FILE too")
    assert_one_sentence(run("demo", "--speed", "2"), "--speed is about a file: give --data FILE too")
    assert_one_sentence(run("demo", "--data", SAMPLE, "--mapping", "none.toml"), "there is no mapping file none.toml")
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    assert_one_sentence(run("demo", "--data", "odd.csv"), "--mapping FILE.toml says how rows become events")
    (tmp_path / "odd.txt").touch()
    assert_one_sentence(run("demo", "--data", "odd.txt"), ".csv")


# -- what is right ---------------------------------------------------------------------------------------------------


def test_check_shows_all_of_a_definition(run: Run) -> None:
    ended = run("check", SHOP)
    assert ended.code == 0 and ended.err == ""
    assert "…" not in ended.out and "label=Happens(type=purchase, within=1d)" in ended.out


def test_schemas_are_written_and_checked(run: Run, tmp_path: Path) -> None:
    assert_one_sentence(
        run("schemas", "--check"), "not up to date in schemas: ", "run `stream-profiles schemas schemas`"
    )
    assert run("schemas").code == 0
    assert run("schemas", "--check").code == 0
    (tmp_path / "file").touch()
    assert_one_sentence(run("schemas", "file"), "the schemas cannot be written into file")
