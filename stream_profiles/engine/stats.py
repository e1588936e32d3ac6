"""What a worker counts, and the line of rates it logs."""

from __future__ import annotations

import time
from collections import Counter, defaultdict

_UNUSUAL = ("duplicate", "late", "replayed", "dropped")


class Stats:
    """Counters of one worker since its start."""

    def __init__(self) -> None:
        #: Records read by intake.
        self.received = 0
        #: What became of events: applied, duplicate, late, replayed; dropped by a mapping's rule.
        self.outcomes: Counter[str] = Counter()
        #: Dead letters by reason, with what is peculiar to one record cut off.
        self.dead_letters: Counter[str] = Counter()
        #: Texts of events of which only the beginning was taken.
        self.cut_texts = 0
        #: Vectors of texts that were taken, and the ms from the requests to there, in all.
        self.answers = self.answer_ms = 0
        #: Errors of single fields.
        self.failed_fields: Counter[str] = Counter()
        #: Group commits written, by agent.
        self.writes: Counter[str] = Counter()
        #: Seconds by phase of the work.
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._at = time.perf_counter()
        self._last_received = self._last_applied = 0
        self._last_answers = self._last_answer_ms = 0

    def dead_letter(self, reason: str) -> None:
        # Reasons name values; what comes before the first colon or quote is the kind.
        kind = reason.split(":", 1)[0].split("'", 1)[0].strip()
        if len(self.dead_letters) >= 100 and kind not in self.dead_letters:
            kind = "other"
        self.dead_letters[kind] += 1

    def line(self, lag: int | None, waiting: int, *, intake: bool, profiles: bool) -> str:
        """The rates since the last call, of the agents there are, and what is out of the ordinary."""
        now = time.perf_counter()
        elapsed = max(now - self._at, 1e-9)
        applied = self.outcomes["applied"]
        parts = []
        if intake:
            received = f"{(self.received - self._last_received) / elapsed:,.0f} events/s in"
            parts.append(received if profiles else f"{received}, {self.received:,} in all")
        if profiles:
            rate = (applied - self._last_applied) / elapsed
            parts.append(f"{rate:,.0f} events/s into profiles, {applied:,} in all")
        if lag is not None:
            parts.append(f"lag {lag:,}")
        if waiting:
            parts.append(f"{waiting:,} being written")
        parts += [f"{self.outcomes[name]:,} {name}" for name in _UNUSUAL if self.outcomes[name]]
        answers = self.answers - self._last_answers
        if answers:
            mean_ms = (self.answer_ms - self._last_answer_ms) / answers
            parts.append(f"texts answered within {mean_ms:,.0f} ms on average")
        if self.cut_texts:
            parts.append(f"{self.cut_texts:,} texts cut")
        if self.dead_letters:
            parts.append(f"{self.dead_letters.total():,} dead letters")
        if self.failed_fields:
            parts.append(f"{self.failed_fields.total():,} failed field updates")
        self._at, self._last_applied, self._last_received = now, applied, self.received
        self._last_answers, self._last_answer_ms = self.answers, self.answer_ms
        return ", ".join(parts)
