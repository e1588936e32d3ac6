"""Texts on their way: what a partition keeps of each event that waits for the vector of its text.

Answers come in any order, perhaps twice, perhaps never. What waits is written with the partition's profiles, and taken
out by the write that holds what became of it: so each event counts once, whatever is killed in between.

Only so many texts are asked about at a time. When more come than the encoder can do, the others queue here, where those
that count most go first and the oldest of those that count least are dropped, and not in Kafka, where nobody could
choose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

#: Vectors remembered when nobody says how many.
_MAX_VECTORS = 20_000
#: Texts asked about at a time, by a partition for one embedding. Many times what an encoder does in one round trip of
#: Kafka, and little enough for an answer to be worth waiting for.
_MAX_IN_FLIGHT = 2_048
#: Events that one answer is for. All of their profiles change in one write, which has a limit; those behind them ask
#: again, which costs an encoder that remembers texts nothing.
_MAX_AN_ANSWER = 500


class Waiter(Struct, array_like=True, gc=False):
    """One event that waits for the vector of its text."""

    text_id: str
    user_id: str
    event_id: str
    #: Event time, ms.
    time: int
    #: How much the event counts.
    weight: float
    #: Wall-clock time at which it began to wait, ms.
    since: int
    #: The text, while it has not been asked about.
    text: str | None = None


class Request(Struct, frozen=True, gc=False):
    """A text whose vector is wanted."""

    text_id: str
    encoder: str
    text: str


class KnownVectors:
    """Vectors of texts seen lately, those used last at the end: titles recur. A worker's partitions share it.

    Parameters:
        max_vectors: How many are remembered; one of 384 numbers takes 1.6 KB.

    Examples:
        >>> known = KnownVectors(max_vectors=2)
        >>> for text_id in ("a", "b", "c"):
        ...     known.put("hashing-384", text_id, version="1", vector=b"...")
        >>> known.get("hashing-384", "a") is None, known.get("hashing-384", "c")
        (True, ('1', b'...'))
    """

    def __init__(self, max_vectors: int = _MAX_VECTORS) -> None:
        self._max_vectors = max_vectors
        self._vectors: dict[str, tuple[str, bytes]] = {}
        #: Of each encoder the version that answered last. What another one said counts for nothing any more.
        self._versions: dict[str, str] = {}

    def get(self, encoder: str, text_id: str) -> tuple[str, bytes] | None:
        """Version of the encoder, and vector."""
        known = self._vectors.pop(text_id, None)
        if known is None or known[0] != self._versions[encoder]:
            return None
        self._vectors[text_id] = known
        return known

    def put(self, encoder: str, text_id: str, version: str, vector: bytes) -> None:
        self._versions[encoder] = version
        self._vectors.pop(text_id, None)
        self._vectors[text_id] = (version, vector)
        if len(self._vectors) > self._max_vectors:
            del self._vectors[next(iter(self._vectors))]


class WaitingTexts:
    """The events of one partition that wait for vectors of one embedding, and the vectors of its labels.

    Parameters:
        encoder: Name of the encoder that is asked.
        labels: Texts of the labels, by text id.
        max_waiting: How many events may wait.
        drops: Whether to drop events beyond that; else it is for the owner to bring no more while it is `full`.
        max_in_flight: How many texts may be asked about and not answered; where events are dropped, at most three
            quarters of `max_waiting`.

    Examples:
        >>> waiting = WaitingTexts("hashing-384", {}, max_waiting=2, max_in_flight=1)
        >>> for number, (user, weight) in enumerate({"ada": 1.0, "bob": 1.0, "cleo": 5.0}.items()):
        ...     waiting.ask(Waiter(f"t{number}", user, f"e{number}", 0, weight, since=0), f"text {number}")
        >>> [request.text for request in waiting.take_requests()], waiting.dropped
        (['text 0'], 1)
        >>> [waiter.user_id for waiter in waiting.answered("t0")], [request.text for request in waiting.take_requests()]
        (['ada'], ['text 2'])
    """

    def __init__(
        self,
        encoder: str,
        labels: Mapping[str, str],
        max_waiting: int,
        max_in_flight: int = _MAX_IN_FLIGHT,
        *,
        drops: bool = True,
    ) -> None:
        self._encoder = encoder
        self._texts_of_labels = dict(labels)
        self._max_waiting, self._drops = max_waiting, drops
        # What is under way is dropped no more: were that all who may wait, what counts most would be dropped for coming
        # last.
        self._max_in_flight = min(max_in_flight, max(1, 3 * max_waiting // 4)) if drops else max_in_flight
        #: By number, the oldest first.
        self._waiters: dict[int, Waiter] = {}
        self._next = 1
        #: Each waits in one of three places. By text id, for an answer that is under way;
        self._asked: dict[str, dict[int, None]] = {}
        #: by text id, behind as many as one answer is for;
        self._behind: dict[str, dict[int, None]] = {}
        #: by weight, the oldest first, and by text id, for its text to be asked about.
        self._queue: dict[float, dict[int, None]] = {}
        self._queued: dict[str, dict[int, None]] = {}
        #: Those in the first two places, by weight, the oldest first.
        self._held: dict[float, dict[int, None]] = {}
        #: Numbers that changed since `take`, with whether the changelog has them.
        self._changed: dict[int, bool] = {}
        #: Version of the encoder and vector of each label, by text id.
        self._labels: dict[str, tuple[str, bytes]] = {}
        self._changed_labels: dict[str, None] = {}
        self._label_rows: tuple[str, NDArray[np.float32]] | None = None
        #: The version that the labels were asked for last; empty for the first, whatever it is.
        self._labels_asked_for: str | None = None
        self._requests: list[Request] = []
        #: Since the start: texts asked about; events that found theirs known; events that were dropped as too many
        #: waited, that were not answered in time, and whose answer was an error or of a replaced encoder.
        self.asked = self.hits = self.dropped = self.lost = self.failed = 0
        #: Texts of which only the beginning was read.
        self.truncated = 0

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def full(self) -> bool:
        """Whether as many wait as may."""
        return len(self._waiters) >= self._max_waiting

    @property
    def since(self) -> int | None:
        """Since when the oldest has waited (wall-clock time, ms); None while none waits."""
        first = next(iter(self._waiters.values()), None)
        return None if first is None else first.since

    def report(self) -> dict[str, int | None]:
        """How it stands: who waits, since when, and the counters since the start."""
        return {
            "waiting": len(self._waiters),
            "since": self.since,
            "asked": self.asked,
            "known": self.hits,
            "dropped": self.dropped,
            "lost": self.lost,
            "failed": self.failed,
            "truncated": self.truncated,
        }

    def ask(self, waiter: Waiter, text: str) -> None:
        """Let an event wait, and ask for the vector of its text as soon as its turn comes."""
        if self._labels_asked_for is None and not self.has_labels:
            self._ask_for_labels("")
        if self._drops and self.full and not self._make_room(waiter.weight):
            self.dropped += 1
            return
        number = self._next
        self._changed[number] = False
        asked = self._asked.get(waiter.text_id)
        if asked is None or len(asked) >= _MAX_AN_ANSWER:
            waiter.text = text
        self._add(number, waiter)
        self._ask_next()

    def answered(self, text_id: str) -> list[Waiter]:
        """Those who waited for a text, in the order in which they came; they wait no longer."""
        waiters = [self._remove(number) for number in list(self._asked.get(text_id, ()))]
        self._line_up(text_id)
        self._ask_next()
        return waiters

    def give_up(self, before: int) -> int:
        """Let those go who have waited since before a time (ms), count them as lost, and return how many."""
        overdue = []
        for number, waiter in self._waiters.items():
            if waiter.since >= before:
                break
            overdue.append(number)
        for number in overdue:
            self._let_go(number)
        self.lost += len(overdue)
        self._ask_next()
        return len(overdue)

    def take_requests(self) -> list[Request]:
        """What is to be asked since the last call."""
        requests, self._requests = self._requests, []
        return requests

    # -- labels --------------------------------------------------------------------------------------------------------

    def set_label(self, text_id: str, version: str, vector: bytes) -> None:
        """Note the vector of a text, if it is a label's."""
        if text_id in self._texts_of_labels and self._labels.get(text_id) != (version, vector):
            self._labels[text_id] = (version, vector)
            self._changed_labels[text_id] = None
            self._label_rows = None

    @property
    def has_labels(self) -> bool:
        """Whether the vector of each label is known."""
        return len(self._labels) == len(self._texts_of_labels)

    def labels(self, version: str) -> NDArray[np.float32] | None:
        """The labels' vectors, in their order, as rows; None while one is missing, or another version's."""
        if self._label_rows is not None and self._label_rows[0] == version:
            return self._label_rows[1]
        known = [self._labels.get(text_id) for text_id in self._texts_of_labels]
        vectors = [label[1] for label in known if label is not None and label[0] == version]
        if vectors and len(vectors) == len(known):
            rows = np.frombuffer(b"".join(vectors), "<f4").reshape(len(vectors), -1)
            self._label_rows = version, rows
            return rows
        if self._labels_asked_for != version and None not in known:
            self._ask_for_labels(version)
        return None

    def _ask_for_labels(self, version: str) -> None:
        self._labels_asked_for = version
        self._requests += [Request(text_id, self._encoder, text) for text_id, text in self._texts_of_labels.items()]

    # -- in and out of the changelog -----------------------------------------------------------------------------------

    def take(self) -> list[tuple[str, Any]]:
        """What changed since the last call: key and content, None for what waits no longer."""
        records: list[tuple[str, Any]] = []
        for number, stored in self._changed.items():
            waiter = self._waiters.get(number)
            if waiter is not None or stored:
                records.append((str(number), waiter))
        records += ((f"label {text_id}", self._labels.get(text_id)) for text_id in self._changed_labels)
        self._changed.clear()
        self._changed_labels.clear()
        return records

    def __contains__(self, key: str) -> bool:
        """Whether an event waits under this key of `take`."""
        return key.isdecimal() and int(key) in self._waiters

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Take over what `take` gave, by key, with None for what waits here and is gone.

        What waits here already goes on waiting. What had not been asked about is asked again.
        """
        waiters: list[tuple[int, Waiter]] = []
        for key, content in stored.items():
            numeral, _, text_id = key.partition(" ")
            if text_id in self._texts_of_labels:
                self._labels[text_id] = (content[0], content[1])
            elif text_id:
                self._changed_labels[text_id] = None  # declared no more: its record goes
            else:
                if key in self:
                    self._remove(int(numeral))
                if content is not None:
                    waiters.append((int(numeral), Waiter(*content)))
        # Those first that wait for an answer: the others may be behind them.
        for number, waiter in sorted(waiters, key=lambda each: (each[1].text is not None, each[0])):
            self._add(number, waiter)
        self._waiters = dict(sorted(self._waiters.items()))
        self._ask_next()

    # -- bookkeeping ---------------------------------------------------------------------------------------------------

    def _ask_next(self) -> None:
        """Ask about what queues, what counts most first, as far as more may be under way."""
        while self._queue and len(self._asked) < self._max_in_flight:
            chosen = next(iter(self._queue[max(self._queue)]))
            first = self._waiters[chosen]
            assert first.text is not None
            self._requests.append(Request(first.text_id, self._encoder, first.text))
            self.asked += 1
            asked = self._asked[first.text_id] = dict[int, None]()
            # All who queue for it, that one before the others.
            for number in dict.fromkeys([chosen, *self._queued[first.text_id]]):
                waiter = self._waiters[number]
                self._leave_queue(number, waiter)
                if len(asked) < _MAX_AN_ANSWER:
                    # The changelog may have it with its text: then a restored partition asks again, without harm.
                    waiter.text = None
                self._hold(number, waiter)

    def _make_room(self, weight: float) -> bool:
        """Drop the oldest of those that count least; False when what comes is to be dropped itself.

        Those whose texts were asked about are the last to go, and only for what counts more or where others wait for
        the same answer: else it would be for nobody.
        """
        for places in (self._queue, self._held):
            least = min(places, default=weight + 1)
            if least <= weight:
                number = next(iter(places[least]))
                if places is self._queue or least < weight or self._waits_with_others(number):
                    self._let_go(number)
                    self.dropped += 1
                    return True
        return False

    def _waits_with_others(self, number: int) -> bool:
        text_id = self._waiters[number].text_id
        return len(self._asked[text_id]) > 1 or text_id in self._behind

    def _add(self, number: int, waiter: Waiter) -> None:
        self._waiters[number] = waiter
        self._next = max(self._next, number + 1)
        if waiter.text is None or waiter.text_id in self._asked:
            self._hold(number, waiter)
        else:
            self._enqueue(number, waiter)

    def _let_go(self, number: int) -> None:
        """Take one out who gets no answer; those behind an answer that is for nobody any more ask themselves."""
        text_id = self._remove(number).text_id
        if text_id not in self._asked:
            self._line_up(text_id)

    def _line_up(self, text_id: str) -> None:
        """Those who were behind others queue."""
        for number in self._behind.pop(text_id, ()):
            waiter = self._waiters[number]
            _take_out(self._held, waiter.weight, number)
            self._enqueue(number, waiter)

    def _remove(self, number: int) -> Waiter:
        waiter = self._waiters.pop(number)
        if number in self._held.get(waiter.weight, ()):
            _take_out(self._held, waiter.weight, number)
            _take_out(self._asked if waiter.text is None else self._behind, waiter.text_id, number)
        else:
            self._leave_queue(number, waiter)
        # What was never written need not be deleted either.
        self._changed[number] = self._changed.get(number, True)
        return waiter

    def _hold(self, number: int, waiter: Waiter) -> None:
        places = self._asked if waiter.text is None else self._behind
        places.setdefault(waiter.text_id, {})[number] = None
        self._held.setdefault(waiter.weight, {})[number] = None

    def _enqueue(self, number: int, waiter: Waiter) -> None:
        self._queue.setdefault(waiter.weight, {})[number] = None
        self._queued.setdefault(waiter.text_id, {})[number] = None

    def _leave_queue(self, number: int, waiter: Waiter) -> None:
        _take_out(self._queue, waiter.weight, number)
        _take_out(self._queued, waiter.text_id, number)


K = TypeVar("K")


def _take_out(places: dict[K, dict[int, None]], key: K, number: int) -> None:
    numbers = places[key]
    del numbers[number]
    if not numbers:
        del places[key]
