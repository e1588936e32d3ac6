"""JSON Schema (2020-12) of every message, for the services that meet them in other languages.

The documents are generated from `contracts`, whose types and words they repeat; only the examples are written here.
The files in `schemas/` are what `write` leaves there.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from .contracts import (
    MESSAGES,
    Contender,
    DeadLetter,
    Event,
    ModelMetrics,
    Profile,
    ProfileDelta,
    Scores,
    TargetReport,
    TextRequest,
    TextVector,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: Part of every `$id`. It goes up when a message changes so that a reader of the old one would misread the new one.
CONTRACT_VERSION = 1


def _scores(log_loss: float, roc_auc: float, accuracy: float, f1: float, confusion: list[int]) -> Scores:
    tn, fp, fn, tp = confusion
    return {
        "examples": tn + fp + fn + tp,
        "positives": fn + tp,
        "log_loss": log_loss,
        "roc_auc": roc_auc,
        "accuracy": accuracy,
        "f1": f1,
        "confusion": {"tn": tn, "fp": fp, "fn": fn, "tp": tp},
    }


_EXAMPLES: dict[type[Struct], list[Struct]] = {
    Event: [
        Event(
            event_id="536365-85123A-1",
            user_id="17850",
            type="purchase",
            time=1_291_191_960_000,
            item_id="85123A",
            category="home",
            price=2.55,
            quantity=6.0,
            currency="GBP",
            text="WHITE HANGING HEART T-LIGHT HOLDER",
            country="United Kingdom",
            properties={"InvoiceNo": "536365"},
        ),
        Event(event_id="0b1f6c2e", user_id="device-7f3a", type="view", time=1_767_225_600_000, session_id="s-91"),
    ],
    ProfileDelta: [
        ProfileDelta(
            user_id="17850",
            profile="shop",
            version=4,
            event_id="536365-85123A-1",
            event_time=1_291_191_960_000,
            changed={
                "spend": {"total": 27.8, "30d": 26.1, "at": 1_291_191_960_000},
                "categories": {"top": [["home", 1.9], ["garden", 0.7]], "at": 1_291_191_960_000},
                "country": "United Kingdom",
                "buys_soon": {"score": 0.71, "at": 1_291_191_960_000},
                # An embedding: little-endian float32, base64.
                "taste": "AAAAPwAAAL8AAAA/AAAAPw==",
            },
            removed=[],
            snapshot=False,
        )
    ],
    Profile: [
        Profile(
            user_id="17850",
            profile="shop",
            version=4,
            event_time=1_291_191_960_000,
            updated_at=1_767_225_600_012,
            values={
                "views": {"total": 3, "1h": 2.4, "1d": 2.9, "at": 1_291_188_360_000},
                "spend": {"total": 27.8, "30d": 26.1, "at": 1_291_191_960_000},
                "country": "United Kingdom",
            },
        )
    ],
    TextRequest: [
        TextRequest(
            text_id="5e0b8f4f5d1c9e0c4a7d6b1f20c3a9d4",
            encoder="all-MiniLM-L6-v2",
            text="WHITE HANGING HEART T-LIGHT HOLDER",
            profile="retail",
            partition=2,
            asked_at=1_767_225_600_000,
        )
    ],
    TextVector: [
        TextVector(
            text_id="5e0b8f4f5d1c9e0c4a7d6b1f20c3a9d4",
            encoder="all-MiniLM-L6-v2",
            version="53aa51172d142c89",
            vector=bytes.fromhex("0000003f000000bf0000003f0000003f"),
            error=None,
            truncated=False,
            asked_at=1_767_225_600_000,
        )
    ],
    DeadLetter: [
        DeadLetter(
            reason="not JSON: unexpected end of data at byte 15",
            topic="shop-clicks",
            partition=2,
            offset=40_115,
            timestamp=1_767_225_600_000,
            key=None,
            value=b'{"user_id": "17',
            size=15,
        )
    ],
    ModelMetrics: [
        ModelMetrics(
            profile="shop",
            partition=2,
            time=1_767_225_600_012,
            watermark=1_767_225_599_871,
            targets={
                "buys_soon": TargetReport(
                    task="binary",
                    model=_scores(0.31, 0.84, 0.87, 0.58, [1_560, 90, 170, 180]),
                    prevalence=_scores(0.46, 0.5, 0.825, 0.0, [1_650, 0, 350, 0]),
                    last_label=_scores(0.93, 0.66, 0.8, 0.43, [1_450, 200, 200, 150]),
                    examples=2_000,
                    promotions=1,
                    drifts=0,
                    contenders=[
                        Contender(model=1, examples=2_000, loss=0.29, behind=None),
                        Contender(model=0, examples=2_000, loss=0.33, behind=0.04),
                    ],
                    importances={"views_1h": 0.62, "spend_30d": 0.38},
                )
            },
        )
    ],
}


def file_name(message: type[Struct]) -> str:
    """The file a message's schema is in.

    Examples:
        >>> file_name(ProfileDelta)
        'profile_delta.json'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", message.__name__).lower() + ".json"


def documents() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each message, by the name of its file.

    Examples:
        >>> list(documents())
        ['event.json', 'profile_delta.json', 'profile.json', 'text_request.json', 'text_vector.json',
         'dead_letter.json', 'model_metrics.json']
        >>> documents()["event.json"]["$id"]
        'urn:stream-profiles:event:1'
    """
    return {file_name(message): _document(message) for message in MESSAGES}


def write(folder: Path) -> list[Path]:
    """Write every schema into the folder, which is made where it is missing, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in _texts().items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def stale(folder: Path) -> list[str]:
    """Names of the files in the folder that are not what `write` would leave there: changed, missing or left over."""
    texts = _texts()
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in texts.keys() | found.keys() if texts.get(name) != found.get(name))


def _document(message: type[Struct]) -> dict[str, Any]:
    (schema,), definitions = msgspec.json.schema_components([message], ref_template="#/$defs/{name}")
    body = definitions.pop(schema["$ref"].rpartition("/")[2])
    document = {
        "$schema": DIALECT,
        "$id": f"urn:stream-profiles:{Path(file_name(message)).stem}:{CONTRACT_VERSION}",
        **body,
        # Python 3.13 takes the indentation out of a docstring by itself; older ones leave it.
        "description": inspect.cleandoc(body["description"]),
        "examples": [json.loads(msgspec.json.encode(example)) for example in _EXAMPLES[message]],
    }
    return {**document, "$defs": definitions} if definitions else document


def _texts() -> dict[str, str]:
    return {name: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for name, document in documents().items()}
