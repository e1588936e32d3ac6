"""The messages that cross the engine's borders: what comes in, what goes out, what is set aside.

Other services meet these on Kafka topics and in Redis, so they are the library's wire contract. `schemas/*.json` is
generated from them (`stream-profiles schemas`). Nothing here knows how a message is made, moved or stored.
Times are `int` milliseconds since 1970 UTC.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

MAX_ID_LENGTH = 256
MAX_TEXT_LENGTH = 10_000
#: 9999-12-31, the last day a `datetime` can show.
MAX_TIME_MS = 253_402_300_799_999

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
Label = Annotated[str, Meta(max_length=MAX_ID_LENGTH)]
Text = Annotated[str, Meta(max_length=MAX_TEXT_LENGTH)]
TimeMs = Annotated[int, Meta(ge=0, le=MAX_TIME_MS, description="Milliseconds since 1970-01-01 UTC.")]


#: Fields of an event that hold prose: longer than `MAX_TEXT_LENGTH`, it is cut. A name that is too long is an error.
PROSE_FIELDS = ("text", "query")


class Event(Struct, kw_only=True, omit_defaults=True, gc=False):
    """One thing a user did, normalised, on the `NAME-events` topic, keyed by `user_id`."""

    event_id: Annotated[Id, Meta(description="Unique per event; a second one with the same id is a duplicate.")]
    user_id: Annotated[Id, Meta(description="The user, or a device or anonymous id standing in for one.")]
    type: Annotated[Id, Meta(description='What was done: "view", "purchase", ...')]
    time: Annotated[TimeMs, Meta(description="When it happened.")]
    item_id: Label | None = None
    category: Label | None = None
    price: Annotated[float, Meta(description="Per unit, in `currency`.")] | None = None
    quantity: float | None = None
    currency: Label | None = None
    session_id: Label | None = None
    text: Text | None = None
    query: Text | None = None
    rating: float | None = None
    channel: Label | None = None
    device: Label | None = None
    country: Label | None = None
    properties: Annotated[dict[str, Any], Meta(description="Every field the contract has no name for.")] = field(
        default_factory=dict
    )


class ProfileDelta(Struct, kw_only=True, gc=False):
    """One change of one profile, on the `NAME-profile-deltas` topic, keyed by `user_id`.

    Applying a user's deltas in order of version gives the profile. A version may be sent again after a failure, always
    with the same content.
    """

    user_id: Id
    profile: Annotated[str, Meta(description="Name of the profile definition.")]
    version: Annotated[int, Meta(ge=1, description="Previous version of this user's profile plus one.")]
    event_id: Annotated[Id, Meta(description="The event that caused the change.")]
    event_time: TimeMs
    changed: Annotated[dict[str, Any], Meta(description="New value of each field that changed.")]
    removed: Annotated[list[str], Meta(description="Fields the profile no longer has.")]
    snapshot: Annotated[bool, Meta(description="True when `changed` holds the whole profile.")]


class Profile(Struct, kw_only=True, gc=False):
    """One user's profile as a reader gets it."""

    user_id: Id
    profile: str
    version: Annotated[int, Meta(ge=1)]
    event_time: Annotated[TimeMs, Meta(description="Time of the latest event in the profile.")]
    updated_at: Annotated[TimeMs, Meta(description="Wall-clock time of the write to Redis.")]
    values: Annotated[dict[str, Any], Meta(description="One value for each feature, target and embedding.")]


class TextRequest(Struct, kw_only=True, gc=False):
    """A text that a partition of profiles wants the vector of, on the `NAME-text-requests` topic, keyed by `text_id`.

    It may come again after a failure, and from several partitions; whoever answers makes nothing of that but an answer
    to each.
    """

    text_id: Annotated[Id, Meta(description="Digest of the encoder's name and the text.")]
    encoder: Annotated[Id, Meta(description="Name of the encoder that the vector is to come from.")]
    text: Annotated[Text, Meta(description="Normalised: no blanks at the ends, single ones between words.")]
    profile: Annotated[str, Meta(description="Name of the profile definition.")]
    partition: Annotated[
        int, Meta(ge=0, description="The partition of profiles that asks: its answer goes to the same of the answers.")
    ]
    asked_at: Annotated[TimeMs, Meta(description="Wall-clock time of the request.")]


class TextVector(Struct, kw_only=True, gc=False):
    """The answer to a `TextRequest`, on the `NAME-text-vectors` topic, in the partition that asked; keyed by `text_id`.

    Either `vector` or `error` is there.
    """

    text_id: Annotated[Id, Meta(description="Of the request.")]
    encoder: Annotated[Id, Meta(description="Name of the encoder.")]
    version: Annotated[
        Label, Meta(description="Version of the encoder. Vectors of two versions are not to be compared.")
    ]
    vector: Annotated[bytes, Meta(description="Unit vector, little-endian float32, base64.")] | None
    error: Annotated[str, Meta(description="Why this text has no vector.")] | None
    truncated: Annotated[bool, Meta(description="True when the encoder read only the beginning of the text.")]
    asked_at: Annotated[TimeMs, Meta(description="Of the request.")]


class DeadLetter(Struct, kw_only=True, gc=False):
    """A record that could not become an event, on the `NAME-dead-letters` topic, with all it takes to try again."""

    reason: str
    topic: str
    partition: Annotated[int, Meta(ge=0)]
    offset: Annotated[int, Meta(ge=0)]
    timestamp: Annotated[int, Meta(description="The Kafka record's own timestamp in milliseconds.")]
    key: Annotated[bytes, Meta(description="The record's key, base64.")] | None
    value: Annotated[bytes, Meta(description="The record's value, base64, cut at the size cap.")] | None
    size: Annotated[int, Meta(ge=0, description="Bytes of the whole value.")]


class Contender(Struct, kw_only=True, gc=False):
    """One of the models that learn a target, in one partition."""

    model: Annotated[
        int, Meta(ge=0, description="Its place among the target's models: those it begins with, then the challengers.")
    ]
    examples: Annotated[int, Meta(ge=0, description="What it has learned from.")]
    loss: Annotated[
        float | None,
        Meta(description="Mean of late: log-loss, or squared error. Null while there is no other to compare it with."),
    ]
    behind: Annotated[
        float | None,
        Meta(description="Mean of late of its loss less the first contender's; below 0, it is better. Null for that."),
    ]


#: By name, as with a type for each task a reader would have to know all tasks to read one.
Scores = dict[str, Any]


class TargetReport(Struct, kw_only=True, gc=False):
    """How good one partition's predictions of a target have been, next to two baselines."""

    task: Literal["binary", "multiclass", "regression"]
    model: Annotated[
        Scores,
        Meta(
            description="Metrics of what was published, null where there are too few examples. Binary: examples, "
            "positives, log_loss, brier_score, roc_auc, pr_auc, top_decile_lift, accuracy, precision, recall, f1, "
            "confusion, calibration_error, calibration. Multiclass: examples, log_loss, accuracy, macro_f1, classes, "
            "confusion (label, guess, count). Regression: examples, mean_label, mae, rmse, r2, bias."
        ),
    ]
    prevalence: Annotated[Scores, Meta(description="The same of predicting what is usual by the labels so far.")]
    last_label: Annotated[Scores, Meta(description="The same of predicting the user's latest label.")]
    examples: Annotated[int, Meta(ge=0, description="Learned from.")]
    promotions: Annotated[int, Meta(ge=0, description="How often another model took the place of the one asked.")]
    drifts: Annotated[int, Meta(ge=0, description="How often what was learned no longer held.")]
    contenders: Annotated[list[Contender], Meta(description="The one that is asked comes first.")]
    importances: Annotated[
        dict[str, float] | None, Meta(description="Each input's share in the predictions, where the model can tell.")
    ]


class ModelMetrics(Struct, kw_only=True, gc=False):
    """How good the models of one partition are, on the compacted `NAME-model-metrics` topic, keyed by partition.

    The latest message of each partition holds. A partition has models of its own, which learn from its users only.
    """

    profile: Annotated[str, Meta(description="Name of the profile definition.")]
    partition: Annotated[int, Meta(ge=0)]
    time: Annotated[TimeMs, Meta(description="Wall-clock time of the report.")]
    watermark: Annotated[TimeMs, Meta(description="Latest event time in the partition; 0 before the first event.")]
    targets: dict[str, TargetReport]


MESSAGES: tuple[type[Struct], ...] = (Event, ProfileDelta, Profile, TextRequest, TextVector, DeadLetter, ModelMetrics)
