"""What a row of features looks like: the columns of a definition, known before the first event, and their values.

Numbers are those that a model of the definition is given, under the same names, so that what is trained on a backfill
can be served from a profile. Everything else is what the profile publishes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from ..errors import SettingsError
from ..features import Feature, First, Last
from ..features.derived import Derived
from ..mapping.values import EVENT_FIELDS
from ..models import BehaviourEmbedding, Target
from ..models.monitors import Anomaly, Clusters
from ..models.text_embeddings import TextVectorField
from ..segments import Segment
from ..state import ProfileState
from ..updater import ProfileUpdater

#: A row's values, in the order of the columns; a vector as its bytes.
Row = list[Any]
#: Gives the values of some columns of a user.
_Read = Callable[["_Moment"], Sequence[Any]]

_NUMBER, _TEXT, _VECTOR = pa.float64(), pa.string(), pa.list_(pa.float32())
_encode = msgspec.json.Encoder().encode


class Columns:
    """The columns of a definition's features, targets, segments and embeddings.

    Parameters:
        updater: The compiled definition.
        taken: Names of columns that stand before them.

    Raises:
        SettingsError: two columns would have one name.

    Examples:
        >>> from stream_profiles import Count, Event, Last, ProfileDefinition, ProfileUpdater
        >>> features = [Count("views", half_life="1h"), Last("country", of="country")]
        >>> updater = ProfileUpdater(ProfileDefinition("shop", features=features))
        >>> columns, state = Columns(updater), updater.new_state()
        >>> change = updater.apply(state, Event(event_id="1", user_id="u", type="view", time=0, country="PT"))
        >>> columns.schema.names
        ['views_total', 'views_1h', 'country']
        >>> columns.row(state, now=3_600_000)
        [1, 0.5, 'PT']
    """

    def __init__(self, updater: ProfileUpdater, taken: Iterable[str] = ()) -> None:
        self._updater = updater
        definition = updater.definition
        self._advance = {field.name: field.advance for field in definition.fields}
        self._derived = [feature for feature in definition.features if isinstance(feature, Derived)]
        self._reads: list[tuple[_Read, int]] = []
        fields: list[Any] = []
        for declared in definition.fields:
            columns, read = _columns_of(declared)
            self._reads.append((read, len(columns)))
            fields += [pa.field(name, kind) for name, kind in columns]
        self.schema = pa.schema(fields)
        self._empty: Row = [None] * len(fields)
        names = list(taken)
        for name in self.schema.names:
            if name in names:
                raise SettingsError(
                    f"two columns would be called {name!r}: rename a field of the definition, or a column of the file "
                    "that is given with --at"
                )
            names.append(name)

    def row(self, state: ProfileState | None, now: int) -> Row:
        """The values of a user as of a moment (ms); None for what there is no value of."""
        if state is None or not state.version:
            return self._empty
        moment, row = _Moment(self, state, now), Row()
        for read, count in self._reads:
            try:
                row += read(moment)
            except Exception:  # as in a profile, where such a field has no value
                row += [None] * count
        return row

    def arrays(self, rows: Sequence[Row]) -> list[Any]:
        """Rows as an Arrow array per column."""
        if not rows:
            return [pa.array([], field.type) for field in self.schema]
        columns = zip(*rows, strict=True)
        return [_array(values, field.type) for values, field in zip(columns, self.schema, strict=True)]

    def published(self, state: ProfileState, now: int) -> dict[str, Any]:
        """The profile as it is published, brought to a moment."""
        made = {feature.name for feature in self._derived}
        values: dict[str, Any] = {}
        for name, value in self._updater.published(state).items():
            if name not in made:
                with suppress(Exception):  # as in `row`
                    values[name] = self._advance[name](value, now)
        for feature in self._derived:
            with suppress(Exception):
                value = feature.derive(values)
                if value is not None:
                    values[feature.name] = value
        return values


class _Moment:
    """A user at a moment. What is published is computed when something asks for it."""

    def __init__(self, columns: Columns, state: ProfileState, now: int) -> None:
        self.slots, self.now = state.slots, now
        self._columns, self._state = columns, state
        self._published: dict[str, Any] | None = None

    @property
    def published(self) -> dict[str, Any]:
        if self._published is None:
            self._published = self._columns.published(self._state, self.now)
        return self._published


def _columns_of(declared: Any) -> tuple[list[tuple[str, Any]], _Read]:
    """Name and type of each column that a field has, and how to read them."""
    name = declared.name
    if isinstance(declared, Feature) and declared.input_names():
        return [(each, _NUMBER) for each in declared.input_names()], _numbers(declared)
    if isinstance(declared, (BehaviourEmbedding, TextVectorField)):
        return [(name, _VECTOR)], lambda moment: [moment.published.get(name)]
    part = _part_of(declared)
    if part is not None:
        key, kind, column = part
        return [(column, kind)], lambda moment: [(moment.published.get(name) or {}).get(key)]
    if isinstance(declared, (First, Last)):
        kind = _type_of_field(declared.of)
        if kind != _TEXT:
            return [(name, kind)], lambda moment: [moment.published.get(name)]
    return [(name, _TEXT)], lambda moment: [_as_text(moment.published.get(name))]


def _numbers(feature: Feature) -> _Read:
    if isinstance(feature, Derived):
        return lambda moment: feature.numbers(moment.published)
    key, inputs = feature.key, feature.inputs
    return lambda moment: inputs(moment.slots.get(key), moment.now)


def _part_of(declared: Any) -> tuple[str, Any, str] | None:
    """Of a field that publishes an object of which one part matters: that part's key, type, and column."""
    name = declared.name
    if isinstance(declared, Segment):
        return "in", pa.bool_(), name
    if isinstance(declared, Clusters):
        return "cluster", pa.int64(), f"{name}_cluster"
    if isinstance(declared, Anomaly) or (isinstance(declared, Target) and declared.label.task == "binary"):
        return "score", _NUMBER, f"{name}_score"
    if isinstance(declared, Target) and declared.label.task == "regression":
        return "value", _NUMBER, f"{name}_value"
    return None


def _type_of_field(field: str) -> Any:
    """What an event's field is: a number, a time, a text. A property may be anything, so it is written as text."""
    if field == "amount":
        return _NUMBER
    known = EVENT_FIELDS.get(field)
    return {"number": _NUMBER, "time": pa.int64()}.get(known.kind, _TEXT) if known else _TEXT


def _as_text(value: Any) -> str | None:
    """A text as it is, anything else as JSON."""
    return value if value is None or type(value) is str else _encode(value).decode()


def _array(values: Sequence[Any], kind: Any) -> Any:
    if kind == _VECTOR:
        values = [None if value is None else np.frombuffer(value, "<f4") for value in values]
    return pa.array(values, kind)
