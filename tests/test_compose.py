"""docker-compose.yml and the Dockerfile are not run by the tests, so all they name is held against what there is."""

from __future__ import annotations

import fnmatch
import importlib.metadata
import json
import os
import re
import shlex
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from jsonschema import Draft7Validator
from jsonschema.validators import validator_for

from stream_profiles.cli import app
from stream_profiles.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
#: The services that run our own image.
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
#: What the comment at the head of the file tells people to run.
SHOWN = re.findall(r"^#   docker compose run (.+)$", TEXT, flags=re.MULTILINE)


def _schema() -> dict[str, Any]:
    """The compose specification's own schema, which ships with check-jsonschema."""
    package = importlib.metadata.distribution("check-jsonschema")
    path = package.locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json")
    schema: dict[str, Any] = json.loads(Path(str(path)).read_text(encoding="utf-8"))
    return schema


def parse_command(arguments: list[str]) -> None:
    """Parse a command line as `stream-profiles` would, without running it.

    Raises:
        Exception: what the command line's parser says against it.
    """
    command: Any = typer.main.get_command(app)
    context, rest = None, list(arguments)
    while hasattr(command, "commands"):
        context = type(command).context_class(command, info_name=command.name, parent=context)
        _, command, rest = command.resolve_command(context, rest)
    command.make_context(command.name, rest, parent=context)


def test_the_file_is_what_the_compose_specification_allows() -> None:
    schema = _schema()
    validator = validator_for(schema, default=Draft7Validator)(schema)
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(COMPOSE)] == []


def test_the_specification_refuses_a_wrong_file() -> None:
    schema = _schema()
    validator = validator_for(schema, default=Draft7Validator)(schema)
    assert list(validator.iter_errors({"services": {"kafka": {"imagee": "apache/kafka"}}}))


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_one_of_the_command_line(name: str) -> None:
    parse_command(OURS[name]["command"])


@pytest.mark.parametrize("line", SHOWN)
def test_every_command_shown_is_one_of_the_command_line(line: str) -> None:
    words = shlex.split(line)
    service = next(word for word in words if word in SERVICES)
    assert service in OURS
    parse_command(words[words.index(service) + 1 :])


def test_commands_are_shown() -> None:
    assert len(SHOWN) >= 2


@pytest.mark.parametrize("arguments", [["wroker"], ["worker", "--onyl", "intake"], ["worker", "--only", "intaek"]])
def test_a_wrong_command_does_not_pass(arguments: list[str]) -> None:
    with pytest.raises(Exception, match=r"(?i)no such|is not one of|invalid value"):
        parse_command(arguments)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_waited_for_can_say_that_it_is_ready(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        if how["condition"] == "service_healthy":
            assert SERVICES[other]["healthcheck"]["test"]
        else:
            # A service that is restarted for ever never completes.
            assert how["condition"] == "service_completed_successfully"
            assert SERVICES[other].get("restart", "no") in ("no", "on-failure")


@pytest.mark.parametrize("name", OURS)
def test_every_setting_is_a_setting(name: str) -> None:
    given = OURS[name]["environment"]
    fields = {variable.removeprefix(ENV_PREFIX).lower(): value for variable, value in given.items()}
    assert all(variable.startswith(ENV_PREFIX) for variable in given)
    assert fields.keys() <= Settings.model_fields.keys()
    Settings(**fields)
    assert {"broker", "redis", "definition"} <= fields.keys()


@pytest.mark.parametrize("name", OURS)
def test_addresses_lead_to_services(name: str) -> None:
    environment = OURS[name]["environment"]
    broker, redis = environment["STREAM_PROFILES_BROKER"], environment["STREAM_PROFILES_REDIS"]
    assert f"INTERNAL://{broker}" in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert re.fullmatch(r"redis://redis:6379/\d+", redis)


def test_the_definition_is_in_the_image() -> None:
    for service in OURS.values():
        path, _, variable = service["environment"]["STREAM_PROFILES_DEFINITION"].partition(":")
        source = ROOT / Path(path).relative_to("/app")
        assert re.search(rf"^{variable} = ", source.read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("name", SERVICES)
def test_every_volume_is_declared(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source = volume.partition(":")[0]
        assert (ROOT / source).is_dir() if source.startswith(".") else source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", ["intake", "profiles", "text", "text-gpu"])
def test_workers_scale(name: str) -> None:
    assert "container_name" not in SERVICES[name]
    assert "ports" not in SERVICES[name]
    assert "STREAM_PROFILES_INSTANCE_ID" not in SERVICES[name]["environment"]


@pytest.mark.parametrize("name", ["intake", "profiles", "text", "text-gpu"])
def test_a_worker_is_healthy_while_its_heartbeat_is_young(name: str, tmp_path: Path) -> None:
    service = SERVICES[name]
    kind, command = service["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    heartbeat = tmp_path / "heartbeat"
    command = command.replace("$$", "$").replace(
        service["environment"]["STREAM_PROFILES_HEARTBEAT_FILE"], str(heartbeat)
    )

    def is_healthy() -> bool:
        return subprocess.run(["sh", "-c", command], capture_output=True).returncode == 0

    assert not is_healthy(), "there is no file yet"
    heartbeat.touch()
    assert is_healthy()
    long_ago = time.time() - 60
    os.utime(heartbeat, (long_ago, long_ago))
    assert not is_healthy()


def test_the_image_starts_the_command_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (entrypoint,) = re.findall(r"^ENTRYPOINT (.+)$", dockerfile, flags=re.MULTILINE)
    assert json.loads(entrypoint) == ["stream-profiles"]
    assert "stream-profiles" in project["scripts"]
    assert re.search(r"^USER (?!root)", dockerfile, flags=re.MULTILINE)


def test_the_image_for_texts_has_extras_that_there_are() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    given = SERVICES["text-gpu"]["build"]["args"]
    for name in given:
        assert f"ARG {name}=" in dockerfile and "${" + name + "}" in dockerfile
    extras = given["EXTRAS"].split()
    assert set(extras[::2]) == {"--extra"}
    assert set(extras[1::2]) <= project["optional-dependencies"].keys()
    assert SERVICES["text-gpu"]["image"] != SERVICES["text"]["image"]


def test_the_image_copies_what_there_is_and_what_docker_may_see() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    visible = [line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").split() if line[0] == "!"]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, flags=re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert any(fnmatch.fnmatch(source, pattern) for pattern in visible)


def test_the_image_has_what_the_package_is_built_from() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    built, _, _ = dockerfile.partition("RUN uv pip install --no-cache --compile-bytecode --no-deps .")
    copied = {source for line in re.findall(r"^COPY (.+) \S+$", built, flags=re.MULTILINE) for source in line.split()}
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {project["project"]["readme"], "pyproject.toml", *wheel["packages"], *wheel.get("force-include", ())}
    assert needed <= copied
