"""`texts`: what waits for vectors, and how the encoders do."""

from __future__ import annotations

import msgspec
from rich.table import Table

from ..client import ProfileClient, TextReport
from . import output
from .connect import Deployment
from .show import duration


def print_texts(deployment: Deployment, *, as_json: bool) -> None:
    """Print how texts stand.

    Raises:
        SettingsError: Redis has no such profiles.
        RedisUnavailable: it does not answer.
    """
    with ProfileClient(deployment.redis(), deployment.names.definition) as client:
        report = client.text_metrics()
    if as_json:
        print(msgspec.json.encode(report).decode())
        return
    console = output.console()
    if not report.embeddings and not report.encoders:
        console.print(f"{deployment.names.definition} has no text embeddings, or no worker has reported yet")
        return
    for table in _tables(report):
        console.print(table)


def _tables(report: TextReport) -> list[Table]:
    embeddings = Table("embedding", "waiting", "oldest", "known", "dropped", "lost", "failed", "truncated", box=None)
    for name, each in report.embeddings.items():
        seen = each.asked + each.known
        embeddings.add_row(
            output.clean(name),
            f"{each.waiting:,}",
            duration(each.oldest_seconds) if each.waiting else "-",
            f"{each.known / seen:.1%}" if seen else "-",
            *(f"{count:,}" for count in (each.dropped, each.lost, each.failed, each.truncated)),
        )
    encoders = Table("encoder", "worker", "answered", "from caches", "batches", "padding", "errors", "queued", box=None)
    for encoder in report.encoders:
        cached = encoder.memory_hits + encoder.redis_hits + encoder.shared
        encoders.add_row(
            output.clean(f"{encoder.encoder}@{encoder.version}"),
            output.clean(encoder.worker),
            f"{encoder.answered:,}",
            f"{cached / encoder.requests:.1%}" if encoder.requests else "-",
            f"{encoder.batches:,}",
            f"{1 - encoder.tokens / encoder.padded_tokens:.1%}" if encoder.padded_tokens else "-",
            *(f"{count:,}" for count in (encoder.errors, encoder.queued)),
        )
    return [embeddings, encoders] if report.encoders else [embeddings]
