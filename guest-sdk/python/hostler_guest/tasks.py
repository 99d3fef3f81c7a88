"""Sends other tasks: those that the plugin's grants name (`[send]` in `PLUGIN.toml`), and not without end.

    from hostler_guest import tasks

    tasks.send("image.thumbnail", {"page": 1}, key="page 1")

Import it where it is used and nowhere else: what a plugin imports is what its component asks for.
"""

import json
from datetime import timedelta
from typing import Any, Optional

from . import host, shape
from .failure import Failure


def send(task: str, args: Any = None, *, key: Optional[str] = None, delay: Optional[timedelta] = None) -> str:
    """Sends a task, by its full name, into this task's queue and with its priority; returns its id. It is on disk then.

    Under a key, of 1 to 200 bytes, this task sends it once: a later attempt gets the same id. Without one, each attempt
    sends another one. It starts no sooner than after the delay.

    Raises `Failure` with SEND_FAILED and the reason: no grant covers it, a limit is reached (which one), there is no such
    task, the key stands for something else, or storage failed.
    """
    try:
        text = json.dumps(args, default=shape.write, allow_nan=False)
        delay_ms = None if delay is None else round(delay / timedelta(milliseconds=1))
        if delay_ms is not None and delay_ms < 0:
            raise ValueError(f"a task cannot be delayed by {delay_ms} ms")
        return host.current().tasks.send(task, text.encode(), key, delay_ms)
    except Exception as error:
        raise Failure("SEND_FAILED", f"sending {task}: {getattr(error, 'value', error)}") from error
