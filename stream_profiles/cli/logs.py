"""Logging of the command line: quiet and useful."""

from __future__ import annotations

import logging
import sys

from . import output

#: Libraries that tell every step of a connection or a rebalance.
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
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    if not verbose:
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.ERROR)
        # kafka-python reports every attempt to connect as an error; what it gives up on is raised, and said once.
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        # Faust's services log under the names of our modules that subclass them.
        for name in ("chunks", "table"):
            logging.getLogger(f"stream_profiles.engine.{name}").setLevel(logging.ERROR)
