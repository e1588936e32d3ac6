"""Logging of the command line: quiet and useful."""

from __future__ import annotations

import logging
import sys
import time

from . import output

#: Libraries that tell every step of a connection or a rebalance.
_THROTTLE_S = 30.0
_CHATTY = ("aiokafka", "faust", "mode", "asyncio", "jgo")


def set_up(verbose: bool) -> None:
    """Log the library's own lines to standard error; of others only what is wrong, unless verbose."""
    handler: logging.Handler
    if sys.stderr.isatty():
        from rich.logging import RichHandler

        handler = RichHandler(
            console=output.console(stderr=True), show_path=False, omit_repeated_times=False, markup=False
        )
        handler.setFormatter(logging.Formatter("%(message)s", "[%X]"))
    else:
        # For a file or a collector of logs: a line each, with the date and the level.
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    if not verbose:
        handler.addFilter(_Throttle())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    if not verbose:
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.ERROR)
        # kafka-python reports every attempt to connect as an error; what it gives up on is raised, and said once.
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        # A new Kafka needs a second to make its topic of offsets; it is asked again, and this is no error.
        logging.getLogger("aiokafka.consumer.group_coordinator").addFilter(_is_news)
        # Faust's services log under the names of our modules that subclass them.
        for name in ("chunks", "table"):
            logging.getLogger(f"stream_profiles.engine.{name}").setLevel(logging.ERROR)


class _Throttle(logging.Filter):
    """Lets a library say the same thing once in a while: Kafka's clients say it ten times a second while it is away."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, object], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_CHATTY):
            return True
        said, now = (record.name, record.msg), time.monotonic()
        if now - self._said.get(said, -_THROTTLE_S) < _THROTTLE_S or len(self._said) > 1_000:
            return False
        self._said[said] = now
        return True


def _is_news(record: logging.LogRecord) -> bool:
    return "GroupCoordinatorNotAvailableError" not in record.getMessage()
