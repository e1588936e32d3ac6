"""Loading a profile definition that a person has written: what is wrong with it is said with its line."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType

import stream_profiles

from .._suggestions import did_you_mean
from ..definition import ProfileDefinition, load_definition
from ..errors import DefinitionError

_UNKNOWN = re.compile(r"got an unexpected keyword argument '(\w+)'")
_MISSING = re.compile(r"missing \d+ required (?:positional|keyword-only) arguments?: (.+)")
_NO_EXPORT = re.compile(r"cannot import name '(\w+)' from 'stream_profiles'")


def load(reference: str) -> ProfileDefinition:
    """As `load_definition`; an error says file and line, and speaks of what the file says.

    Raises:
        DefinitionError: there is no such definition, or it is wrong.
    """
    place = reference.rpartition(":")[0] or reference
    try:
        return load_definition(reference)
    except SystemExit as error:
        raise DefinitionError(f"{place} ends the program ({error}): a definition only declares") from error
    except DefinitionError as error:
        raise DefinitionError(_explained(error, place)) from error


def _explained(error: DefinitionError, place: str) -> str:
    cause = error.__cause__
    if isinstance(cause, SyntaxError):
        return f"{_shown(cause.filename, place)}:{cause.lineno} is not Python: {cause.msg}"
    steps = [step for step in _steps(cause or error) if _is_in(step, place)]
    if not steps:
        return str(error)
    last = steps[-1]
    where = f"{_shown(last.tb_frame.f_code.co_filename, place)}:{last.tb_lineno}"
    if cause is None:
        return f"{where}: {error}"
    said = str(cause)
    if isinstance(cause, ImportError) and (lacking := _NO_EXPORT.search(said)):
        return f"{where}: stream_profiles has no {lacking[1]!r}; {did_you_mean(lacking[1], stream_profiles.__all__)}"
    if isinstance(cause, ModuleNotFoundError) and cause.name:
        return f"{where} needs the module {cause.name!r}, which is not installed"
    if isinstance(cause, TypeError) and last.tb_next is None and (call := _call_at(last)) is not None:
        name, parameters = call
        if unknown := _UNKNOWN.search(said):
            return f"{where}: {name} takes no argument {unknown[1]!r}; {did_you_mean(unknown[1], parameters)}"
        if missing := _MISSING.search(said):
            return f"{where}: {name} needs the argument {missing[1]}"
    if isinstance(cause, NameError) and cause.name:
        close = get_close_matches(cause.name, stream_profiles.__all__, n=1)
        hint = (
            "import it from stream_profiles" if cause.name in close else f"did you mean {close[0]!r}?" if close else ""
        )
        return f"{where}: {cause.name!r} is not defined{hint and '; ' + hint}"
    return f"{where} does not run: {type(cause).__name__}: {cause}"


def _steps(error: BaseException) -> Iterator[TracebackType]:
    step = error.__traceback__
    while step is not None:
        yield step
        step = step.tb_next


def _is_in(step: TracebackType, place: str) -> bool:
    """Whether a step of a traceback is in the definition's file, or in its module."""
    if place.endswith(".py"):
        return Path(step.tb_frame.f_code.co_filename).resolve() == Path(place).resolve()
    return step.tb_frame.f_globals.get("__name__") == place


def _shown(filename: str | None, place: str) -> str:
    """A file as the user wrote it, where that is the one."""
    if filename is None or (place.endswith(".py") and Path(filename).resolve() == Path(place).resolve()):
        return place
    return filename


def _call_at(step: TracebackType) -> tuple[str, list[str]] | None:
    """The function or class that was called where a traceback ends, by the name the file has for it, and its
    parameters."""
    positions = list(step.tb_frame.f_code.co_positions())[step.tb_lasti // 2]
    file = Path(step.tb_frame.f_code.co_filename)
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        found = (getattr(node, name, None) for name in ("lineno", "end_lineno", "col_offset", "end_col_offset"))
        if isinstance(node, ast.Call) and tuple(found) == positions and isinstance(node.func, ast.Name):
            called = step.tb_frame.f_locals.get(node.func.id, step.tb_frame.f_globals.get(node.func.id))
            if callable(called):
                return node.func.id, list(inspect.signature(called).parameters)
    return None
