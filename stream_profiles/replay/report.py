"""What a replay is asked to do, and what it says it did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SettingsError
from .checkpoint import DEFAULT_PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """How files are replayed.

    Attributes:
        speed: times the real speed of the events; None for as fast as possible.
        limit: events to send in this run, over all files.
        state: the checkpoint's file.
        restart: begin at the first row whatever the checkpoint says.
        rejects: a file for the rows that are no events, as JSON lines; appended to when a replay goes on.
        max_lag: wait while the workers are further behind; None never to wait. Needs a lag to go by.
    """

    speed: float | None = None
    limit: int | None = None
    state: Path = DEFAULT_PATH
    restart: bool = False
    rejects: Path | None = None
    max_lag: int | None = 200_000

    def __post_init__(self) -> None:
        if self.speed is not None and not 0 < self.speed < float("inf"):
            raise SettingsError(f"the speed of a replay is a number above 0, not {self.speed}")
        if self.limit is not None and self.limit < 1:
            raise SettingsError(f"the limit of a replay is at least one event, not {self.limit}")


@dataclass(slots=True, kw_only=True)
class ReplayReport:
    """What a run did.

    Attributes:
        sent: events that Kafka has acknowledged.
        rejected: rows that are no events, by reason.
        dropped: rows that a rule of the mapping dropped, by the rule's reason.
        skipped: rows an earlier run was done with.
        backwards: events more than a day older than one before them.
        seconds: from the first row to the last acknowledgement.
        stopped: why it ended early; None when all files are done.
        resume: the file and row the next run goes on after; None when all files are done.
    """

    sent: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    backwards: int = 0
    seconds: float = 0.0
    stopped: str | None = None
    resume: tuple[Path, int] | None = None

    def summary(self) -> str:
        """The report in a few lines.

        Examples:
            >>> report = ReplayReport(sent=9_000, dropped=Counter(anonymous=1_000), seconds=0.5)
            >>> print(report.summary())
            sent 9,000 events in 0.5 s (18,000 a second)
            dropped 1,000 rows: anonymous
        """
        rate = f" ({self.sent / self.seconds:,.0f} a second)" if self.seconds and self.sent else ""
        lines = [f"sent {self.sent:,} events in {self.seconds:,.1f} s{rate}"]
        if self.skipped:
            lines.append(f"skipped {self.skipped:,} rows that an earlier run was done with; --restart sends them again")
        lines += [f"dropped {count:,} rows: {reason}" for reason, count in self.dropped.most_common()]
        lines += [f"rejected {count:,} rows: {reason}" for reason, count in self.rejected.most_common()]
        if self.backwards:
            lines.append(
                f"warning: {self.backwards:,} events are more than a day older than one before them; "
                "the files are not in order of time"
            )
        if self.stopped is not None:
            place = f" at row {self.resume[1]:,} of {self.resume[0].name}" if self.resume else ""
            lines.append(f"{self.stopped}{place}; run the same command again to go on from there")
        return "\n".join(lines)
