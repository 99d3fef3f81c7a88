"""What a running task may ask of its host. In a component this is the host itself; natively, the scope of a test."""

import json
import sys
from types import SimpleNamespace
from typing import Any, Callable, Optional, TypeVar

from . import shape
from .failure import Failure

T = TypeVar("T")


def _to_stderr(level: str, message: str) -> None:
    print(f"{level}: {message}", file=sys.stderr)


NOWHERE = SimpleNamespace(
    attempt=SimpleNamespace(
        id=lambda: "00000000-0000-0000-0000-000000000000",
        number=lambda: 1,
        retries=lambda: 0,
        remaining_ms=lambda: 60_000,
        previous_error=lambda: None,
    ),
    log=SimpleNamespace(write=_to_stderr),
    progress=SimpleNamespace(report=lambda fraction, note: None),
    cancellation=SimpleNamespace(requested=lambda: False),
    checkpoint=SimpleNamespace(recall=lambda name: None, keep=lambda name, value: None),
    tasks=SimpleNamespace(send=lambda task, args, key, delay_ms: NOWHERE.attempt.id()),
    keyvalue=SimpleNamespace(
        open=lambda name: SimpleNamespace(
            get=lambda key: None,
            set=lambda key, value: None,
            delete=lambda key: None,
            exists=lambda key: False,
            list_keys=lambda cursor: SimpleNamespace(keys=[], cursor=None),
        ),
        increment=lambda bucket, key, delta: delta,
    ),
)
"""What a task sees where nobody said anything else."""

_current: Any = NOWHERE


def current() -> Any:
    """What the helpers of other modules ask."""
    return _current


def enter(host: Any) -> Any:
    """Lets tasks meet another host, and returns the one before. For `component` and `testing`."""
    global _current
    before, _current = _current, host
    return before


class attempt:
    """The attempt that is running."""

    @staticmethod
    def id() -> str:
        """The task's id, a UUID; the same in every attempt: make outside effects idempotent with it."""
        return _current.attempt.id()

    @staticmethod
    def number() -> int:
        """The attempt's number, from 1."""
        return _current.attempt.number()

    @staticmethod
    def retries() -> int:
        """How many failed attempts were retried before this one."""
        return _current.attempt.retries()

    @staticmethod
    def remaining_ms() -> int:
        """Milliseconds left until the host ends this attempt."""
        return _current.attempt.remaining_ms()

    @staticmethod
    def previous_error() -> Optional[str]:
        """The code the attempt before this one ended with, if there was one."""
        return _current.attempt.previous_error()


class log:
    """Log lines, kept with the attempt."""

    @staticmethod
    def trace(message: object) -> None:
        """Writes a line that matters to nobody but the author."""
        _current.log.write("trace", str(message))

    @staticmethod
    def debug(message: object) -> None:
        """Writes a line for whoever looks for a mistake."""
        _current.log.write("debug", str(message))

    @staticmethod
    def info(message: object) -> None:
        """Writes a line."""
        _current.log.write("info", str(message))

    @staticmethod
    def warn(message: object) -> None:
        """Writes a line about something odd."""
        _current.log.write("warn", str(message))

    @staticmethod
    def error(message: object) -> None:
        """Writes a line about something wrong."""
        _current.log.write("error", str(message))


class progress:
    """Tells whoever waits how far the attempt is."""

    @staticmethod
    def report(fraction: float, note: str = "") -> None:
        """A fraction from 0 to 1 and a short note."""
        _current.progress.report(float(fraction), str(note))


class cancellation:
    """Cooperative cancellation."""

    @staticmethod
    def requested() -> bool:
        """Whether somebody wants this task to stop: return what you have."""
        return _current.cancellation.requested()


class checkpoint:
    """Durable steps: what an attempt keeps, the attempts after it find, whatever ended this one."""

    @staticmethod
    def step(name: str, body: Callable[[], T]) -> T:
        """What this step gave when it was done before; else does it, and keeps what it gives, which is JSON."""
        found, value = _recall(name)
        if found:
            return value
        value = body()
        checkpoint.keep(name, value)
        return value

    @staticmethod
    def recall(name: str) -> Any:
        """What this attempt or an earlier one kept under this name, or None."""
        return _recall(name)[1]

    @staticmethod
    def keep(name: str, value: Any) -> None:
        """Keeps a value, at most 1 MiB as JSON. It is on disk when this returns."""
        text = json.dumps(value, default=shape.write, allow_nan=False)
        try:
            _current.checkpoint.keep(name, text.encode())
        except Exception as error:
            raise _failed(name, error) from error


def _recall(name: str) -> tuple[bool, Any]:
    try:
        kept = _current.checkpoint.recall(name)
    except Exception as error:
        raise _failed(name, error) from error
    return (False, None) if kept is None else (True, json.loads(kept))


def _failed(name: str, error: Exception) -> Failure:
    return Failure("CHECKPOINT_FAILED", f"the step {name!r}: {getattr(error, 'value', error)}")
