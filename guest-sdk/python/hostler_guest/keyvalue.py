"""Buckets of values that outlive the task (`wasi:keyvalue`). The plugin's grants name them (`[keyvalue]` in `PLUGIN.toml`).

    from hostler_guest import keyvalue

    visits = keyvalue.bucket("visits")
    seen = visits.increment("page")

Import it where it is used and nowhere else: what a plugin imports is what its component asks for.
"""

from contextlib import contextmanager
from typing import Any, Iterator, Optional

from . import host
from .failure import Failure


def bucket(name: str) -> "Bucket":
    """The bucket of this name. It is opened where it is first used, so it may stand outside of any task."""
    return Bucket(name)


class Bucket:
    """A bucket. What is written is on disk when the call returns. Each call is a transaction of its own.

    Each raises `Failure` with KEYVALUE_FAILED and the reason: the bucket is not granted, it is full, or storage failed.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._host: Any = None
        self._opened: Any = None

    def get(self, key: str) -> Optional[bytes]:
        """What is under a key, if there is anything."""
        with self._open() as opened:
            return opened.get(key)

    def set(self, key: str, value: bytes | str) -> None:
        """Writes bytes, or a text as UTF-8, in place of what was there."""
        with self._open() as opened:
            opened.set(key, value.encode() if isinstance(value, str) else bytes(value))

    def delete(self, key: str) -> None:
        """Deletes what is under a key, if there is anything."""
        with self._open() as opened:
            opened.delete(key)

    def exists(self, key: str) -> bool:
        """Whether there is anything under a key."""
        with self._open() as opened:
            return opened.exists(key)

    def keys(self) -> Iterator[str]:
        """All keys, in the order in which they were first written. They are asked for as they are needed."""
        cursor = None
        while True:
            with self._open() as opened:
                page = opened.list_keys(cursor)
            yield from page.keys
            cursor = page.cursor
            if cursor is None:
                return

    def increment(self, key: str, delta: int = 1) -> int:
        """Adds to the decimal number under a key, 0 if there is none, and returns the sum. Nobody comes between."""
        with self._open() as opened:
            if not isinstance(delta, int) or delta < 0:
                raise TypeError(f"{delta!r} cannot be added: it is no whole number")
            return self._host.increment(opened, key, delta)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            now = host.current().keyvalue
            # A handle is worth nothing under another host: after the build, or in the next test.
            if self._host is not now:
                self._opened = now.open(self._name)
                self._host = now
            yield self._opened
        except Exception as error:
            raise Failure("KEYVALUE_FAILED", f"the bucket {self._name!r}: {_words(error)}") from error


def _words(error: Exception) -> Any:
    """The host's words. Its errors are a variant, of which `Other` has a value, within an exception that has one."""
    why = getattr(error, "value", error)
    kind = type(why).__name__
    if kind == "Error_AccessDenied":
        return "it is not granted"
    if kind == "Error_NoSuchStore":
        return "there is none of this name"
    return getattr(why, "value", why)
