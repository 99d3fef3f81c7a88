"""The powers that an operator grants, in memory: for `testing`."""

import dataclasses
import json
from types import SimpleNamespace
from typing import Any, Optional


@dataclasses.dataclass
class Sent:
    """A task that was sent."""

    id: str
    task: str
    args: Any
    key: Optional[str] = None
    delay_ms: Optional[int] = None


class Sends:
    """Notes what is sent. A key is sent once, as by the host."""

    def __init__(self, sent: list[Sent]) -> None:
        self._sent = sent

    def send(self, task: str, args: bytes, key: Optional[str], delay_ms: Optional[int]) -> str:
        """As the host's."""
        child = Sent(f"00000000-0000-7000-8000-{len(self._sent) + 1:012}", task, json.loads(args), key, delay_ms)
        for before in self._sent:
            if key is None or before.key != key:
                continue
            if (before.task, before.args) == (child.task, child.args):
                return before.id
            raise ValueError(f"KEY_CONFLICT: this task sent another command as {key!r} before, task {before.id}")
        self._sent.append(child)
        return child.id


class Buckets:
    """Keeps values in `{bucket: {key: value}}`."""

    def __init__(self, buckets: dict[str, dict[str, bytes]]) -> None:
        self._buckets = buckets

    def open(self, name: str) -> "_Bucket":
        """As the host's."""
        return _Bucket(self._buckets.setdefault(name, {}))

    def increment(self, bucket: "_Bucket", key: str, delta: int) -> int:
        """As the host's."""
        before = bucket.get(key) or b"0"
        if not before.isdigit():
            raise ValueError("the value is no decimal number")
        total = int(before) + delta
        bucket.set(key, str(total).encode())
        return total


class _Bucket:
    def __init__(self, values: dict[str, bytes]) -> None:
        self.get, self.exists = values.get, values.__contains__
        self.set = values.__setitem__
        self.delete = lambda key: values.pop(key, None)
        self.list_keys = lambda cursor: SimpleNamespace(keys=list(values), cursor=None)
