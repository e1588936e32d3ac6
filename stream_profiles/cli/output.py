"""Where the command line prints, and what of other people's text may reach a terminal."""

from __future__ import annotations

import sys

from rich.console import Console

#: No line is ever so long: what goes to a file or another program is not wrapped.
_UNWRAPPED = 100_000


def console(*, stderr: bool = False) -> Console:
    """A console on standard output or error, as wide as the terminal; without one, nothing is wrapped or cut."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _UNWRAPPED
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def clean(text: str) -> str:
    """Text of events, harmless for a terminal: control characters are written out.

    Examples:
        >>> print(clean("Zoë"), clean("a\\x1b[31mb"))
        Zoë a\\x1b[31mb
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
