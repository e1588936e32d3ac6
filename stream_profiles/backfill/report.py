"""What a backfill is asked to do, and what it says it did."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ..contracts import MAX_TIME_MS
from ..errors import SettingsError

#: Fewer events are computed before a process has started.
_WORTH_A_PROCESS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillOptions:
    """How files are computed.

    Attributes:
        out: the file that is written, .parquet or .csv; None for none.
        at: a file of moments, CSV or Parquet: the features as of each are written in the place of final profiles.
        user_column, time_column: its columns.
        until: only events before this time (ms) count.
        partitions: how many the users are spread over. Learned models belong to a partition: as many as the deployment.
        processes: how many compute partitions at a time; None for one a core, when there are events enough.
        rejects: a file for the rows that are no events, as JSON lines.
        records: whether the changelog records of the profiles are made too, for a deployment that starts with them.
        max_record_bytes, max_future_ms: what the deployment's settings say.
    """

    out: Path | None = None
    at: Path | None = None
    user_column: str = "user_id"
    time_column: str = "time"
    until: int | None = None
    partitions: int = 4
    processes: int | None = None
    rejects: Path | None = None
    records: bool = False
    max_record_bytes: int = 1_048_576
    max_future_ms: int = 300_000

    def __post_init__(self) -> None:
        if self.out is None and not self.records:
            raise SettingsError("say where the profiles go: --out FILE.parquet, or --warm for a deployment")
        if self.at is not None and self.out is None:
            raise SettingsError("--at asks for features as of moments: say where they go with --out FILE.parquet")
        if not 1 <= self.partitions <= 1024:
            raise SettingsError(f"the number of partitions is from 1 to 1024, not {self.partitions}")
        if self.processes is not None and self.processes < 1:
            raise SettingsError(f"the number of processes is at least 1, not {self.processes}")
        if self.until is not None and not 0 <= self.until <= MAX_TIME_MS:
            raise SettingsError(f"until is no time in milliseconds since 1970: {self.until}")

    def processes_for(self, events: int) -> int:
        """How many processes there are for so many events: a partition is computed by one."""
        some = (os.cpu_count() or 1) if events >= _WORTH_A_PROCESS else 1
        return min(self.partitions, self.processes or some)


@dataclass(slots=True, kw_only=True)
class BackfillReport:
    """What a backfill did.

    Attributes:
        events: events applied to profiles.
        users: users with a profile.
        rejected: rows and events that are none, by reason.
        dropped: rows that a rule of the mapping dropped, by the rule's reason.
        skipped: events that changed nothing, by the reason: "duplicate", "late".
        failed: updates of a field that failed on an event and left it as it was, by the field's name.
        after: events that came at `until` or later.
        rows: rows written.
        columns: columns written.
        out: the file; None when none was asked for.
        as_of: the moment (ms) that final profiles are brought to; None when there are no events, or moments were given.
        unknown: moments of users who had no events yet.
        seconds: for everything.
    """

    events: int = 0
    users: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    after: int = 0
    rows: int = 0
    columns: int = 0
    out: Path | None = None
    as_of: int | None = None
    unknown: int = 0
    seconds: float = 0.0

    def summary(self) -> str:
        """The report in a few lines.

        Examples:
            >>> report = BackfillReport(
            ...     events=9_000, users=40, rows=40, columns=7, out=Path("train.parquet"), seconds=2
            ... )
            >>> report.skipped["late"] = 2
            >>> print(report.summary())
            computed 40 profiles from 9,000 events in 2.0 s (4,500 a second)
            skipped 2 events: late
            wrote 40 rows of 7 columns to train.parquet
        """
        rate = f" ({self.events / self.seconds:,.0f} a second)" if self.seconds and self.events else ""
        lines = [f"computed {self.users:,} profiles from {self.events:,} events in {self.seconds:,.1f} s{rate}"]
        if self.after:
            lines.append(f"left out {self.after:,} events that came at the end (--until) or later")
        for what, unit, counts in (
            ("dropped", "rows", self.dropped),
            ("rejected", "rows", self.rejected),
            ("skipped", "events", self.skipped),
            ("failed", "updates of a field", self.failed),
        ):
            lines += [f"{what} {count:,} {unit}: {reason}" for reason, count in counts.most_common()]
        if self.out is not None:
            as_of = f", as of {moment(self.as_of)}" if self.as_of is not None else ""
            lines.append(f"wrote {self.rows:,} rows of {self.columns:,} columns to {self.out}{as_of}")
        if self.unknown:
            lines.append(f"{self.unknown:,} rows are of users who had no events by then: their features are empty")
        return "\n".join(lines)


def moment(time: int) -> str:
    """A time as a person reads it.

    Examples:
        >>> moment(1_323_435_000_000)
        '2011-12-09 12:50:00 UTC'
    """
    return f"{datetime.fromtimestamp(time / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
