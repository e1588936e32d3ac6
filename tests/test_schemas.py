"""The schemas say what the contracts say: the same files, the same messages accepted, the same ones refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from stream_profiles import schemas
from stream_profiles.contracts import MAX_TIME_MS, MESSAGES, DeadLetter, Event, ModelMetrics, Profile, ProfileDelta

FOLDER = Path(__file__).resolve().parents[1] / "schemas"
DOCUMENTS = schemas.documents()

EVENT: dict[str, Any] = {"event_id": "1", "user_id": "ada", "type": "view", "time": 1}
DELTA: dict[str, Any] = DOCUMENTS["profile_delta.json"]["examples"][0]
DEAD: dict[str, Any] = DOCUMENTS["dead_letter.json"]["examples"][0]
METRICS: dict[str, Any] = DOCUMENTS["model_metrics.json"]["examples"][0]
(REPORT,) = METRICS["targets"].values()


def _validator(message: type[msgspec.Struct]) -> Draft202012Validator:
    return Draft202012Validator(DOCUMENTS[schemas.file_name(message)])


def test_the_files_are_what_the_contracts_generate() -> None:
    assert schemas.stale(FOLDER) == [], "run `stream-profiles schemas` and commit what it writes"


@pytest.mark.parametrize("message", MESSAGES)
def test_every_document_is_a_json_schema_with_examples(message: type[msgspec.Struct]) -> None:
    document = json.loads((FOLDER / schemas.file_name(message)).read_text(encoding="utf-8"))
    assert document["$schema"] == schemas.DIALECT
    Draft202012Validator.check_schema(document)
    assert document["title"] == message.__name__
    assert document["description"]
    assert document["examples"]
    for example in document["examples"]:
        assert list(_validator(message).iter_errors(example)) == []
        decoded = msgspec.json.decode(json.dumps(example), type=message)
        assert json.loads(msgspec.json.encode(decoded)) == example, (
            "an example says something the message does not hold"
        )


def test_ids_are_different() -> None:
    assert len({document["$id"] for document in DOCUMENTS.values()}) == len(MESSAGES)


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        (Event, {**EVENT, "user_id": ""}),
        (Event, {**EVENT, "user_id": 17850}),
        (Event, {**EVENT, "user_id": "u" * 257}),
        (Event, {**EVENT, "time": "2026-01-01T00:00:00Z"}),
        (Event, {**EVENT, "time": -1}),
        (Event, {**EVENT, "time": MAX_TIME_MS + 1}),
        (Event, {**EVENT, "price": "2.55"}),
        (Event, {**EVENT, "properties": ["a"]}),
        (Event, {name: value for name, value in EVENT.items() if name != "event_id"}),
        (Event, [EVENT]),
        (ProfileDelta, {**DELTA, "version": 0}),
        (ProfileDelta, {**DELTA, "removed": "spend"}),
        (ProfileDelta, {**DELTA, "snapshot": None}),
        (Profile, {**DOCUMENTS["profile.json"]["examples"][0], "values": None}),
        (DeadLetter, {**DEAD, "offset": -1}),
        (DeadLetter, {name: value for name, value in DEAD.items() if name != "value"}),
        (ModelMetrics, {**METRICS, "partition": -1}),
        (ModelMetrics, {**METRICS, "targets": [REPORT]}),
        (ModelMetrics, {**METRICS, "targets": {"buys_soon": {**REPORT, "task": "ranking"}}}),
        (ModelMetrics, {**METRICS, "targets": {"buys_soon": {**REPORT, "model": None}}}),
        (ModelMetrics, {**METRICS, "targets": {"buys_soon": {**REPORT, "contenders": [{"model": 0}]}}}),
    ],
)
def test_a_wrong_message_is_refused_by_both(message: type[msgspec.Struct], wrong: Any) -> None:
    assert list(_validator(message).iter_errors(wrong))
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(wrong), type=message)


@pytest.mark.parametrize("event", [EVENT, {**EVENT, "item_id": None, "price": 3, "properties": {"a": [1]}}])
def test_a_right_event_is_taken_by_both(event: dict[str, Any]) -> None:
    assert list(_validator(Event).iter_errors(event)) == []
    msgspec.json.decode(json.dumps(event), type=Event)


def test_written_files_are_fresh_and_changed_missing_or_foreign_ones_are_stale(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "schemas"
    written = schemas.write(folder)
    assert sorted(path.name for path in written) == sorted(DOCUMENTS)
    assert schemas.stale(folder) == []

    (folder / "event.json").write_text("{}")
    (folder / "profile.json").unlink()
    (folder / "older_message.json").write_text("{}")
    assert schemas.stale(folder) == ["event.json", "older_message.json", "profile.json"]
