"""Logging of the command line: quiet and useful."""

from __future__ import annotations

import logging
import sys

from rich.console import Console
from rich.logging import RichHandler

#: Libraries that tell every step of a connection or a rebalance.
_CHATTY = ("aiokafka", "faust", "kafka", "mode", "asyncio", "jgo")


def set_up(verbose: bool) -> None:
    """Log the library's own lines to standard error; of others only what is wrong, unless verbose."""
    handler = RichHandler(console=Console(stderr=True, width=1200 if not sys.stderr.isatty() else None), show_path=False, omit_repeated_times=False, markup=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", datefmt="[%X]", handlers=[handler], force=True)
    if not verbose:
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.ERROR)
        # Faust's services log under the names of our modules that subclass them.
        for name in ("chunks", "table"):
            logging.getLogger(f"stream_profiles.engine.{name}").setLevel(logging.ERROR)
