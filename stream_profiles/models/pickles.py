"""How a River object is stored that has no other way into a changelog: pickled, next to River's version.

Reading is limited to what such objects are made of, so that a record from elsewhere does not run code by being read.
That is a safety net and no sandbox: the topics a worker restores from are to be written by workers alone.
"""

from __future__ import annotations

import io
import pickle
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from river import proba, stats
from river.__version__ import __version__ as _version

from ..errors import StateError

#: Of this process, to be stored beside what it pickled.
RIVER: str = _version

#: What River's objects are made of, besides River's classes.
_PLAIN: dict[str, frozenset[str]] = {
    "builtins": frozenset(
        kind.__name__
        for kind in (bool, bytearray, bytes, complex, dict, float, frozenset, int, list, object, range, set, str, tuple)
    ),
    "collections": frozenset(("Counter", "OrderedDict", "defaultdict", "deque")),
    "copyreg": frozenset(("_reconstructor", "__newobj__")),
    "datetime": frozenset(("date", "datetime", "timedelta", "timezone")),
    "functools": frozenset(("partial",)),
    "_codecs": frozenset(("encode",)),
    "numpy": frozenset(("dtype", "ndarray")),
    "numpy._core.multiarray": frozenset(("_reconstruct", "scalar")),
    "numpy._core.numeric": frozenset(("_frombuffer",)),
    "numpy.random._pickle": frozenset(("__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor")),
    "numpy.random._mt19937": frozenset(("MT19937",)),
    "numpy.random._pcg64": frozenset(("PCG64",)),
    "random": frozenset(("Random",)),
    "statistics": frozenset(("NormalDist",)),
}
#: Packages whose own classes and functions are read: River's, and what its pipelines have here.
_PACKAGES = frozenset(("river", "stream_profiles.models"))
#: Nodes of a tree hold one another, and pickling goes as deep as they do.
_DEPTH = 10_000


def dump(obj: Any) -> list[Any]:
    """A River object as `[River's version, bytes]`."""
    out = io.BytesIO()
    with _room_for_deep_trees():
        _Pickler(out, protocol=5).dump(obj)
    return [RIVER, out.getvalue()]


def load(stored: bytes, version: str, *, packages: frozenset[str] = frozenset()) -> Any:
    """What `dump` stored.

    Parameters:
        stored, version: What `dump` gave.
        packages: Further packages that the object may be made of.

    Raises:
        StateError: it cannot be read by this version of River, or is made of something else.
    """
    try:
        return _Unpickler(io.BytesIO(stored), _PACKAGES | packages).load()
    except Exception as error:  # Unpickling runs constructors: there is no telling what they raise.
        raise StateError(
            f"a stored state of River {version} cannot be read with River {RIVER}: {error!r}; "
            f"install River {version} to go on with it, or let the model start anew"
        ) from error


def packages_of(obj: Any) -> frozenset[str]:
    """The packages, River's and the standard library's aside, that an object is made of.

    Raises:
        Exception: it cannot be pickled, for instance because there is a lambda in it.
    """
    found = _Finder(io.BytesIO(pickle.dumps(obj, protocol=5)))
    found.load()
    return frozenset(found.packages) - {"river"}


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        """Variances as four numbers, and normal distributions as a variance: trees hold thousands of them.

        River gives each distribution a generator of random numbers, seeded by the machine: 2.5 KB apiece, different in
        every process. Nothing draws from them.
        """
        if type(obj) is stats.Var and type(obj.mean) is stats.Mean:
            return _variance, (obj.ddof, obj.mean.n, obj.mean._mean, obj._S)
        if type(obj) is proba.Gaussian and obj.seed is None:
            return _gaussian, (obj._var,)
        return NotImplemented


# These two are found by their names: where they lie is part of the stored state.


def _variance(ddof: int, count: float, mean: float, squares: float) -> stats.Var:
    variance = stats.Var(ddof)
    variance.mean.n, variance.mean._mean, variance._S = count, mean, squares
    return variance


def _gaussian(variance: stats.Var) -> proba.Gaussian:
    gaussian = proba.Gaussian.__new__(proba.Gaussian)
    gaussian.seed, gaussian._rng, gaussian._var = None, _UNUSED, variance
    return gaussian


_UNUSED = random.Random(0)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, packages: frozenset[str]) -> None:
        super().__init__(file)
        self._packages = packages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):
            return _method
        if name in _PLAIN.get(module, ()):
            return super().find_class(module, name)
        if self._is_within(module):
            found = super().find_class(module, name)
            # Not what such a module has merely imported, like `os`.
            if self._is_within(str(getattr(found, "__module__", ""))):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} has no place in the state of a model")

    def _is_within(self, module: str) -> bool:
        return any(module == package or module.startswith(f"{package}.") for package in self._packages)


def _method(obj: Any, name: str) -> Any:
    """Bound methods are stored as a look-up of an attribute; those of generators and of River's objects are read."""
    if name.startswith("__") or not (isinstance(obj, random.Random) or type(obj).__module__.startswith("river.")):
        raise pickle.UnpicklingError(
            f"the attribute {name!r} of a {type(obj).__name__} has no place in a model's state"
        )
    return getattr(obj, name)


class _Finder(pickle.Unpickler):
    """Reads what was pickled a moment ago, and remembers what it is made of."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.packages: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        if module not in _PLAIN:
            self.packages.add(module.partition(".")[0])
        return super().find_class(module, name)


@contextmanager
def _room_for_deep_trees() -> Iterator[None]:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _DEPTH))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
