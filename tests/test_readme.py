"""README.md and docs/: what they show runs, and what they name exists."""

from __future__ import annotations

import ast
import base64
import doctest
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import stream_profiles
from stream_profiles import features, models
from stream_profiles.durations import to_ms
from stream_profiles.engine.topics import plan_topics
from stream_profiles.names import Names
from stream_profiles.settings import ENV_PREFIX, InputTopic, Settings, load_settings
from tests.test_compose import parse_command

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NEEDS_SERVERS = "<!-- needs servers -->"

#: Variables that are no settings.
OTHER_VARIABLES = {f"{ENV_PREFIX}CACHE"}
#: What stands between two commands of a line.
_BETWEEN_COMMANDS = {"|", "||", "&&", "&", ";", ">", "<", ">>"}


class Block(NamedTuple):
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    needs_servers: bool

    @property
    def id(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    inside: tuple[int, str] | None = None
    for number, line in enumerate(lines, start=1):
        if not line.startswith("```"):
            continue
        if inside is None:
            inside = number, line[3:].strip()
            continue
        start, language = inside
        marked = start >= 2 and lines[start - 2].strip() == NEEDS_SERVERS
        yield Block(page, start, language, "\n".join(lines[start : number - 1]) + "\n", marked)
        inside = None
    assert inside is None, f"{page.name}:{inside} is never closed"


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def shown_code(page: Path) -> Iterator[str]:
    """Every shell line and every piece of `code` in a page."""
    for block in blocks_of(page):
        if block.language in ("sh", "bash", "console", "shell"):
            yield from block.text.replace("\\\n", " ").splitlines()
    yield from re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(page))


def commands_of(page: Path) -> Iterator[list[str]]:
    """The simple commands of a page, as words."""
    for line in shown_code(page):
        line = line.strip().removeprefix("$ ")
        if not line.startswith(("stream-profiles ", "docker compose ", "make ")):
            continue
        lexer = shlex.shlex(line.replace("\n", " "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if word in _BETWEEN_COMMANDS:
                break
            words.append(word)
        yield words


def test_what_is_looked_at_is_there() -> None:
    names = {page.name for page in PAGES}
    assert {"README.md", "guarantees.md", "operations.md", "writing-definitions.md"} <= names
    assert len([block for block in BLOCKS if block.language == "python"]) >= 4
    assert len([block for block in BLOCKS if block.language == "pycon"]) >= 10


# -- Python ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs_from_top_to_bottom(page: Path) -> None:
    namespace: dict[str, Any] = {}
    for block in blocks_of(page):
        if block.needs_servers:
            continue
        if block.language == "python":
            exec(compile(block.text, block.id, "exec"), namespace)
        elif block.language == "pycon":
            test = doctest.DocTestParser().get_doctest(block.text, namespace, block.id, str(page), block.line)
            report: list[str] = []
            runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
            runner.run(test, out=report.append, clear_globs=False)
            assert not runner.failures, "".join(report)
            namespace = test.globs


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.needs_servers], ids=lambda block: block.id)
def test_code_that_needs_servers_compiles(block: Block) -> None:
    assert block.language == "python"
    compile(block.text, block.id, "exec")


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=lambda block: block.id)
def test_every_name_that_is_imported_exists(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stream_profiles"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert alias.name in module.__all__, f"{alias.name} is no public name of {node.module}"


def test_code_that_needs_servers_calls_what_the_client_has() -> None:
    """It is not run here, so at least its methods and their arguments are held against the client's."""
    from inspect import signature

    from stream_profiles.client import AsyncProfileClient, ProfileClient

    calls = 0
    for block in BLOCKS:
        if not block.needs_servers:
            continue
        for node in ast.walk(ast.parse(block.text)):
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            if isinstance(function, ast.Attribute) and getattr(function.value, "id", "") == "client":
                called: Any = getattr(ProfileClient, function.attr)
                arguments = [None, *node.args]
            elif isinstance(function, ast.Name) and function.id in ("ProfileClient", "AsyncProfileClient"):
                called = {"ProfileClient": ProfileClient, "AsyncProfileClient": AsyncProfileClient}[function.id]
                arguments = list(node.args)
            else:
                continue
            signature(called).bind(*arguments, **{str(keyword.arg): None for keyword in node.keywords})
            calls += 1
    assert calls >= 8


def chapters_of(page: str) -> set[str]:
    """What the third-level headings of a page name."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return {
        name
        for chapter in re.findall(r"^### (.+)$", text, flags=re.MULTILINE)
        for name in re.split(", | and ", chapter)
    }


def test_every_feature_has_a_chapter() -> None:
    assert chapters_of("features.md") == set(features.__all__) - {"Feature"}
    assert "BehaviourEmbedding" in chapters_of("writing-definitions.md")
    assert set(features.__all__) <= set(stream_profiles.__all__)


def test_every_label_model_and_transform_is_told_of() -> None:
    told = "".join(
        (ROOT / "docs" / page).read_text(encoding="utf-8")
        for page in ("targets.md", "texts.md", "writing-definitions.md")
    )
    kinds = set(models.__all__) & set(stream_profiles.__all__) - {"Label", "Model", "Transform"}
    assert {kind for kind in kinds if not re.search(rf"\b{kind}\b", told)} == set()


# -- commands ----------------------------------------------------------------------------------------------------------

COMMANDS = [(page, words) for page in PAGES for words in commands_of(page)]


@pytest.mark.parametrize(
    "words", [words for _, words in COMMANDS if words[0] == "stream-profiles"], ids=lambda words: " ".join(words)
)
def test_every_command_line_is_one_the_parser_takes(words: list[str]) -> None:
    parse_command(words[1:])


@pytest.mark.parametrize(
    "words", [words for _, words in COMMANDS if words[:3] == ["docker", "compose", "run"]], ids=lambda w: " ".join(w)
)
def test_every_command_in_a_container_is_one_the_parser_takes(words: list[str]) -> None:
    import yaml

    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    service = next(word for word in words[3:] if word in services)
    parse_command(words[words.index(service) + 1 :])


def test_commands_are_found() -> None:
    shown = {tuple(words[:2]) for _, words in COMMANDS}
    expected = {
        ("stream-profiles", name)
        for name in ("worker", "get", "tail", "replay", "topics", "check", "models", "evaluate", "backfill")
    }
    assert expected | {("make", "demo"), ("make", "test"), ("docker", "compose")} <= shown


@pytest.mark.parametrize("arguments", [["get"], ["worker", "--partitions", "4"], ["topics", "destroy"]])
def test_a_wrong_command_line_is_found_out(arguments: list[str]) -> None:
    with pytest.raises(Exception, match=r"(?i)missing|no such"):
        parse_command(arguments)


def test_every_file_named_in_a_command_exists() -> None:
    for page, words in COMMANDS:
        for word in words[1:]:
            path = word.partition(":")[0]
            if path.startswith(("examples/", "tests/")):
                assert (ROOT / path).is_file(), f"{page.name} names {path}"


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    variables = set(re.findall(r"\$\(([A-Z]+)\)", makefile)) | set(re.findall(r"\$\(if \$\(([A-Z]+)\)", makefile))
    for _, words in COMMANDS:
        if words[0] != "make":
            continue
        target, *given = words[1:]
        assert target in targets
        assert {each.partition("=")[0] for each in given} <= variables


def test_the_two_commands_are_there() -> None:
    assert {"demo", "test"} <= {words[1] for page, words in COMMANDS if words[0] == "make" and page.name == "README.md"}


# -- settings and topics -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_variable_is_a_setting(page: Path) -> None:
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields} | OTHER_VARIABLES
    assert set(re.findall(rf"\b{ENV_PREFIX}[A-Z_]+\b", page.read_text(encoding="utf-8"))) <= known


def test_the_variables_that_are_exported_make_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    text = "\n".join(block.text for block in BLOCKS if block.language == "sh")
    exported = dict(re.findall(rf"^export ({ENV_PREFIX}\w+)=(\S+)$", text, flags=re.MULTILINE))
    assert {f"{ENV_PREFIX}{name}" for name in ("BROKER", "REDIS", "DEFINITION", "INPUTS")} <= exported.keys()
    for name, value in exported.items():
        monkeypatch.setenv(name, value)
    assert load_settings().inputs


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "toml"], ids=lambda block: block.id)
def test_every_settings_file_loads(block: Block, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert block.text.startswith("# stream_profiles.toml\n")
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)
    file = tmp_path / "stream_profiles.toml"
    file.write_text(block.text, encoding="utf-8")
    settings = load_settings(file)
    assert [source.topic for source in settings.inputs] == [
        source["topic"] for source in tomllib.loads(block.text)["inputs"]
    ]


def table_under(page: Path, heading: str, first: str) -> list[list[str]]:
    """The rows of the first table after a heading whose first column is called `first`."""
    text = page.read_text(encoding="utf-8")
    _, _, text = text.partition(f"\n## {heading}\n")
    _, _, text = text.partition(f"\n| {first} |")
    rows: list[list[str]] = []
    for line in text.splitlines()[2:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    assert rows
    return rows


def test_the_table_of_settings_is_that_of_the_code() -> None:
    rows = table_under(ROOT / "docs" / "operations.md", "Settings", "setting")
    assert [row[0].strip("`") for row in rows] == list(Settings.model_fields)
    for name, variable, default, meaning in rows:
        field = name.strip("`")
        assert variable == f"`{ENV_PREFIX}{field.upper()}`"
        value = Settings.model_fields[field].get_default(call_default_factory=True)
        if field == "inputs":
            assert default == f"`{Names('NAME').clicks}`"
        else:
            assert default == ("none" if value is None else f"`{value}`")
        assert meaning.endswith(".")


def test_the_table_of_input_topics_is_that_of_the_code() -> None:
    rows = table_under(ROOT / "docs" / "operations.md", "Settings", "key")
    assert [row[0].strip("`") for row in rows] == list(InputTopic.model_fields)


def test_the_table_of_topics_is_that_of_the_code() -> None:
    rows = table_under(ROOT / "docs" / "operations.md", "Topics", "topic")
    settings = Settings()
    shown = {re.findall(r"`([^`]+)`", row[0])[0]: row for row in rows}
    plans = {plan.name: plan for plan in plan_topics(Names("shop"), settings, texts=True)}
    assert shown.keys() == plans.keys()
    for name, plan in plans.items():
        _, partitions, cleanup, retention, _ = shown[name]
        assert cleanup == plan.config["cleanup.policy"]
        assert ("any" in partitions) == (not plan.exact)
        kept = plan.config.get("retention.ms")
        assert (retention == "for ever") == (kept is None)
        if kept is not None:
            assert to_ms(getattr(settings, retention.strip("`"))) == int(kept)


def test_every_topic_of_a_definition_called_shop_is_one() -> None:
    names = Names("shop")
    known = {names.clicks, names.events, names.deltas, names.dead_letters, names.model_metrics, names.changelog}
    known |= {names.text_requests, names.text_vectors, names.intake_group, names.profiles_group, names.text_group}
    for page in PAGES:
        found = set(re.findall(r"\bshop-[a-z-]+[a-z]", page.read_text(encoding="utf-8")))
        assert found <= known, page.name


# -- the rest ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("jq") is None, reason="there is no jq")
def test_dead_letters_can_be_sent_again_as_shown() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"jq -r '(select[^']+)'", page)
    record = {"user_id": "ada", "type": "wishlist", "note": "ünï\ncode"}

    def letter(reason: str, topic: str, value: bytes) -> str:
        return json.dumps({"reason": reason, "topic": topic, "value": base64.b64encode(value).decode()})

    letters = "\n".join(
        [
            letter("unknown event type: 'wishlist'", "web-clicks", json.dumps(record, indent=1).encode()),
            letter("unknown event type: 'wishlist'", "other-topic", b"{}"),
            letter("not a JSON object: malformed", "web-clicks", b"not json"),
        ]
    )
    done = subprocess.run(["jq", "-r", program], input=letters, capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert json.loads(line) == record


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_named_exists(page: Path) -> None:
    for name in re.findall(r"`((?:docs|examples|schemas|stream_profiles|tests|benchmarks)/[\w./-]*)`", prose(page)):
        assert (ROOT / name).exists(), name


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert linked == {str(page.relative_to(ROOT)) for page in PAGES if page.parent.name == "docs"}


def test_the_package_shows_the_readme() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["readme"] == "README.md"
