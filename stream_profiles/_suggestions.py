"""The "did you mean" half of an error message. What was wrong is said by whoever found it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: More names than this are not a help any more.
_LISTED = 20


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause that leads from a name nobody knows to one that exists.

    Examples:
        >>> did_you_mean("usr_id", ["user_id", "item_id", "time"])
        "did you mean 'user_id'?"
        >>> did_you_mean("colour", ["user_id", "time"])
        'there are user_id, time'
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if not close:
        # difflib counts "customerid" and "CustomerID" as far apart; a person would not.
        folded = {known_name.casefold(): known_name for known_name in reversed(names)}
        close = [folded[match] for match in difflib.get_close_matches(name.casefold(), list(folded), n=1)]
    if close:
        return f"did you mean {close[0]!r}?"
    if not names:
        return "there are none"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"there are {', '.join(names[:_LISTED])}{more}"
