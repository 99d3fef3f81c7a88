"""For unit tests of a plugin, natively: what a task asks for, and what it said."""

import contextlib
import dataclasses
import json
from types import ModuleType, SimpleNamespace
from typing import Any, Iterator, Optional

from . import serve
from .fakes import Buckets, Sends, Sent
from .host import NOWHERE, enter
from .task import tasks_of


@dataclasses.dataclass
class Seen:
    """What tasks said within `in_attempt`."""

    logs: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    progress: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    kept: dict[str, Any] = dataclasses.field(default_factory=dict)
    sent: list[Sent] = dataclasses.field(default_factory=list)
    buckets: dict[str, dict[str, bytes]] = dataclasses.field(default_factory=dict)


@contextlib.contextmanager
def in_attempt(
    *,
    cancelled: bool = False,
    kept: Optional[dict[str, Any]] = None,
    buckets: Optional[dict[str, dict[str, bytes]]] = None,
    **facts: Any,
) -> Iterator[Seen]:
    """As if in an attempt: `id`, `number`, `retries`, `remaining_ms`, `previous_error`, each with a default.

    `kept` is what earlier attempts kept as durable steps, `buckets` the values that are there, as {bucket: {key: value}}.
    Every send and every bucket is granted.
    """
    before_it = {name: dict(values) for name, values in (buckets or {}).items()}
    seen = Seen(kept=dict(kept or {}), buckets=before_it)
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
            checkpoint=SimpleNamespace(
                recall=lambda name: json.dumps(seen.kept[name]).encode() if name in seen.kept else None,
                keep=lambda name, value: seen.kept.update({name: json.loads(value)}),
            ),
            tasks=Sends(seen.sent),
            keyvalue=Buckets(seen.buckets),
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
