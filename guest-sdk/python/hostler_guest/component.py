"""The component's side: the only module that names the host's interfaces.

`hostler build` writes what calls it, and names there those that have to be granted, if the plugin uses them.
"""

# A component holds only what was imported when it was built. The standard library imports these within functions, so
# that the first call of `strptime`, `Counter.most_common` or `decode("cp1252")` would find nothing.
import _strptime  # noqa: F401
import decimal  # noqa: F401
import encodings.ascii  # noqa: F401
import encodings.cp1252  # noqa: F401
import encodings.latin_1  # noqa: F401
import encodings.utf_8_sig  # noqa: F401
import heapq  # noqa: F401
import json
import sys
from types import ModuleType, SimpleNamespace

from componentize_py_types import Err
from wit_world.exports import guest
from wit_world.imports import attempt, cancellation, checkpoint, progress
from wit_world.imports import log as host_log

from . import serve
from .failure import Failure
from .host import enter
from .task import tasks_of

_LEVELS = {level.name.lower(): level for level in host_log.Level}


class Component:
    """The exported interface `guest` of a plugin's module, which has these powers beyond what every plugin has."""

    def __init__(self, name: str, version: str, module: ModuleType, **powers: object) -> None:
        _check(powers)
        self._powers = powers
        self._tasks = tasks_of(module)
        # Made once, when the component is built: a type without a schema is told there.
        self._described = json.dumps(serve.describe(name, version, self._tasks)).encode()

    def describe(self) -> bytes:
        """The descriptor."""
        return self._described

    def run(self, task: str, args: bytes) -> bytes:
        """One attempt."""
        log = SimpleNamespace(write=lambda level, message: host_log.write(_LEVELS[level], message))
        enter(
            SimpleNamespace(
                attempt=attempt,
                log=log,
                progress=progress,
                cancellation=cancellation,
                checkpoint=checkpoint,
                **self._powers,
            )
        )
        try:
            return serve.run(self._tasks, task, args)
        except Failure as failure:
            raise Err(_wire(failure)) from None


def _check(powers: dict[str, object]) -> None:
    """Refuses a component whose plugin imports more than its build saw."""
    for power in ("tasks", "keyvalue"):
        if f"{__package__}.{power}" in sys.modules and power not in powers:
            raise TypeError(
                f"the plugin imports {__package__}.{power} where `hostler build` does not look: let a module of its own "
                "import it, by a plain `import` statement"
            )


def _wire(failure: Failure) -> guest.Failure:
    message = failure.message
    data = None
    if failure.data is not None:
        try:
            data = serve.to_json(failure.data)
        except Failure as error:
            message += f" (its data is lost: {error.message})"
    if isinstance(failure.retry, int):
        retry: guest.Retry = guest.Retry_AfterMs(failure.retry)
    else:
        retry = guest.Retry_Never() if failure.retry == "never" else guest.Retry_ByPolicy()
    return guest.Failure(failure.code, message, data, retry)
