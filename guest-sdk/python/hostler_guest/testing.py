"""For unit tests of a plugin, natively: what a task asks for, and what it said."""

import contextlib
import dataclasses
import json
from types import ModuleType, SimpleNamespace
from typing import Any, Iterator

from . import serve
from .host import NOWHERE, enter
from .task import tasks_of


@dataclasses.dataclass
class Seen:
    """What tasks said within `in_attempt`."""

    logs: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    progress: list[tuple[float, str]] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def in_attempt(*, cancelled: bool = False, **facts: Any) -> Iterator[Seen]:
    """As if in an attempt: `id`, `number`, `retries`, `remaining_ms`, `previous_error`, each with a default."""
    seen = Seen()
    attempt = SimpleNamespace(**vars(NOWHERE.attempt))
    for name, value in facts.items():
        if name not in vars(attempt):
            raise TypeError(f"an attempt has no {name}")
        setattr(attempt, name, lambda value=value: value)
    before = enter(
        SimpleNamespace(
            attempt=attempt,
            log=SimpleNamespace(write=lambda level, message: seen.logs.append((level, message))),
            progress=SimpleNamespace(report=lambda fraction, note: seen.progress.append((fraction, note))),
            cancellation=SimpleNamespace(requested=lambda: cancelled),
        )
    )
    try:
        yield seen
    finally:
        enter(before)


def call(module: ModuleType, task: str, args: Any = None) -> Any:
    """Calls a task of a module as the host does: through JSON, with its arguments checked. Raises `Failure`."""
    return json.loads(serve.run(tasks_of(module), task, json.dumps(args).encode()))


def describe(module: ModuleType) -> dict[str, Any]:
    """What the host will read of a module: names, schemas, policies."""
    return serve.describe("test", "0.0.0", tasks_of(module))
