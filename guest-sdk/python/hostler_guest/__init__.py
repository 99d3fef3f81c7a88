"""What the author of a hostler plugin uses.

    from hostler_guest import Failure, task

    @task(retries=3, timeout="30s")
    def word_count(text: str) -> dict[str, int]:
        '''Counts words.'''
        return {"words": len(text.split())}

The parameters are the fields of the arguments; annotations become the JSON Schema and are checked before the function
runs. Every task of the plugin's module is served as `PLUGIN.word_count`. Natively it is the plain function, so a unit test
calls it; `hostler_guest.testing` has the rest of the world for it.

What an operator has to grant is in modules of its own, which this one does not import: `hostler_guest.tasks` sends tasks,
`hostler_guest.keyvalue` keeps values. What a plugin imports of them is what its component asks for.
"""

from .failure import Failure
from .host import attempt, cancellation, checkpoint, log, progress
from .task import Exponential, Fixed, task

__all__ = [
    "Exponential",
    "Failure",
    "Fixed",
    "attempt",
    "cancellation",
    "checkpoint",
    "log",
    "progress",
    "task",
]
