"""ProfileDefinition: what a profile is made of, checked when it is built, so that a worker never meets a wrong one.

A definition is plain configuration. `updater.ProfileUpdater` compiles it into what runs.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from . import features as feature_kinds
from .durations import Duration, to_ms
from .errors import DefinitionError
from .features import Feature
from .features.base import config_as_json
from .features.derived import Derived
from .models import BehaviourEmbedding, Monitor, Target, TextEmbedding
from .models.inputs import CompiledInputs
from .models.text_embeddings import TextVectorField
from .segments import Segment

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


class ProfileDefinition:
    """The features, targets, segments and embeddings of one kind of profile.

    Parameters:
        name: Starts the name of every topic, table and Redis key, so that several definitions run side by side.
        features: What is kept about a user. One that is made of others comes after them.
        targets: What models say about a user: `Target` and `Anomaly`.
        segments: Groups that a user belongs to: `Segment` and `Clusters`.
        embeddings: Vectors of a user: `TextEmbedding` and `BehaviourEmbedding`.
        event_types: The types of event that may come in; any other is set aside as a dead letter. None allows all.
        lateness: How far an event's time may lie before the user's latest; an older one is counted and dropped.
        dedup: How many of a user's latest event ids are remembered to drop duplicates of.

    Raises:
        DefinitionError: with what is wrong and what to do.

    Examples:
        >>> from stream_profiles import Count, ProfileDefinition
        >>> shop = ProfileDefinition("shop", features=[Count("views", on="view", half_life="1d")])
        >>> shop.field_names
        ['views']
    """

    def __init__(
        self,
        name: str,
        *,
        features: Sequence[Feature] = (),
        targets: Sequence[Target | Monitor] = (),
        segments: Sequence[Segment | Monitor] = (),
        embeddings: Sequence[BehaviourEmbedding | TextEmbedding] = (),
        event_types: Iterable[str] | None = None,
        lateness: Duration = "7d",
        dedup: int = 32,
    ) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise DefinitionError(
                f"{name!r} cannot name a definition: use small letters, digits, - and _, starting with a letter "
                "(it starts the names of topics and Redis keys)"
            )
        self.name = name
        self.features = list(features)
        self.embeddings = list(embeddings)
        self.text_embeddings = [each for each in self.embeddings if isinstance(each, TextEmbedding)]
        self.targets = [target for target in targets if not isinstance(target, Monitor)]
        self.segments = [segment for segment in segments if not isinstance(segment, Monitor)]
        #: What models say without labels: those among the targets, then those among the segments.
        self.monitors = [each for each in (*targets, *segments) if isinstance(each, Monitor)]
        self.event_types = None if event_types is None else list(event_types)
        self.lateness_ms = to_ms(lateness)
        self.dedup = dedup
        if not 0 <= dedup <= 1024:
            raise DefinitionError(f'ProfileDefinition("{name}"): dedup must be from 0 to 1024, not {dedup}')
        for given, kind, what in (
            (self.features, Feature, "features"),
            (self.targets, Target, "targets"),
            (self.segments, Segment, "segments"),
            (self.embeddings, (BehaviourEmbedding, TextEmbedding), "embeddings"),
        ):
            for item in given:
                if not isinstance(item, kind):
                    raise DefinitionError(f'ProfileDefinition("{name}"): {item!r} cannot stand in {what}=[...]')
        if not self.fields:
            raise DefinitionError(f'ProfileDefinition("{name}") is empty: give it at least one feature')
        twice = [field for field, count in Counter(self.field_names).items() if count > 1]
        if twice:
            raise DefinitionError(f'ProfileDefinition("{name}"): the name {twice[0]!r} is given to two fields')
        self._check_event_types()
        self._check_sources()
        self._check_encoders()
        predicting: list[Target | Monitor] = [*self.targets, *self.monitors]
        for each in predicting:
            CompiledInputs(each, each.inputs, self.features, each.on or ())

    @property
    def fields(
        self,
    ) -> list[Feature | Target | Monitor | Segment | BehaviourEmbedding | TextEmbedding | TextVectorField]:
        """Everything that has a field in the profile."""
        vectors = [vector for embedding in self.text_embeddings for vector in embedding.vectors]
        return [*self.features, *self.targets, *self.monitors, *self.segments, *self.embeddings, *vectors]

    @property
    def field_names(self) -> list[str]:
        return [field.name for field in self.fields]

    def describe(self) -> dict[str, Any]:
        """What a reader in another service needs to read the profiles: each field's kind and configuration."""
        return {
            "name": self.name,
            "fields": {
                field.name: {"kind": field.kind, "config": config_as_json(field.config)} for field in self.fields
            },
        }

    def _check_event_types(self) -> None:
        if self.event_types is None:
            return
        used = {(field, event_type) for field in self.fields for event_type in field.on or ()}
        used |= {(embedding, event_type) for embedding in self.text_embeddings for event_type in embedding.weights}
        used |= {(target, event_type) for target in self.targets for event_type in target.label.types or ()}
        for field, event_type in sorted(used, key=lambda pair: (pair[0].name, pair[1])):
            if event_type not in self.event_types:
                raise DefinitionError(
                    f"{field!r} waits for events of type {event_type!r}, which event_types does not have"
                    f"{_suggest(event_type, self.event_types)}"
                )

    def _check_sources(self) -> None:
        """Raises: DefinitionError, when something is made of a field that is not there, or comes before it."""
        made_of_others: list[Derived | Segment] = [f for f in self.features if isinstance(f, Derived)]
        features = [feature.name for feature in self.features]
        for each in [*made_of_others, *self.segments]:
            for source in each.sources:
                if source not in self.field_names:
                    raise DefinitionError(
                        f"{each!r} speaks of {source!r}, which is no field of this definition"
                        f"{_suggest(source, self.field_names)}"
                    )
                if any(source == segment.name for segment in self.segments):
                    raise DefinitionError(f"{each!r} is made of {source!r}, a segment; segments come last")
                if isinstance(each, Derived) and source in features[features.index(each.name) :]:
                    raise DefinitionError(f"{each!r} is made of {source!r}: list it after that one")

    def _check_encoders(self) -> None:
        """Raises: DefinitionError, when two encoders have one name, which their vectors are known by."""
        known: dict[str, TextEmbedding] = {}
        for embedding in self.text_embeddings:
            other = known.setdefault(embedding.encoder_name, embedding)
            if (other.encoder_given, other.dimension) != (embedding.encoder_given, embedding.dimension):
                raise DefinitionError(
                    f"{other!r} and {embedding!r} have two encoders called {embedding.encoder_name!r}: "
                    "give them the same one, or names of their own"
                )

    def __repr__(self) -> str:
        return f'ProfileDefinition("{self.name}")'


def described_features(description: dict[str, Any]) -> dict[str, Feature]:
    """The features of `ProfileDefinition.describe`, rebuilt by name; those of kinds unknown here are left out."""
    rebuilt = {}
    for name, field in description["fields"].items():
        kind = getattr(feature_kinds, field["kind"], None)
        if isinstance(kind, type) and issubclass(kind, Feature):
            rebuilt[name] = kind(**field["config"])
    return rebuilt


def _suggest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def load_definition(reference: str) -> ProfileDefinition:
    """The definition at `path/to/file.py:variable` or `package.module:variable`; the variable may be left out when
    there is just one definition.

    Raises:
        DefinitionError: no such file or variable, or the definition itself is wrong.
    """
    place, _, variable = reference.rpartition(":") if ":" in reference else (reference, "", "")
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except DefinitionError:
        raise
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(f"{error.name}.")):
            raise DefinitionError(
                f"there is no module {place!r}; for a file write its path with .py, as in shop.py:shop"
            ) from None
        raise DefinitionError(f"{place} needs the module {error.name!r}, which is not installed") from error
    except Exception as error:
        where = _line_in(error, place)
        raise DefinitionError(f"{where} does not run: {type(error).__name__}: {error}") from error
    found = {name: value for name, value in vars(module).items() if isinstance(value, ProfileDefinition)}
    if variable:
        if variable in found:
            return found[variable]
        raise DefinitionError(f"{place} has no profile definition {variable!r}{_has(found)}{_suggest(variable, found)}")
    if len(found) != 1:
        raise DefinitionError(f"say which definition of {place} to run, as in {place}:NAME{_has(found)}")
    return next(iter(found.values()))


def _has(found: Iterable[str]) -> str:
    return f" (it has {', '.join(sorted(found))})" if found else " (it has none)"


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise DefinitionError(f"there is no file {path}; give the definition as path/to/file.py:variable")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A definition may import what lies beside it, as a script may.
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def _line_in(error: BaseException, place: str) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    line, traceback = None, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename.endswith(place):
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return f"{place}:{line}" if line else place
