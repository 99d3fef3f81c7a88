"""How a task says no."""

from datetime import timedelta
from typing import Any, Self


class Failure(Exception):
    """A task's own failure: raise it, and the sender gets it instead of a result.

    Any other exception becomes one with the code TASK_FAILED, with its traceback in the attempt's log. The code is
    SCREAMING_SNAKE_CASE; the host refuses its own codes from a task. The message is for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.data: Any = None
        self.retry: str | int = "by-policy"

    def never(self) -> Self:
        """The same failure, never retried."""
        self.retry = "never"
        return self

    def retry_after(self, delay: timedelta) -> Self:
        """The same failure, retried after this long while the policy has retries left; whole milliseconds."""
        ms = round(delay / timedelta(milliseconds=1))
        if ms < 0:
            raise ValueError(f"a failure cannot be retried after {ms} ms")
        self.retry = ms
        return self

    def with_data(self, data: Any) -> Self:
        """The same failure with data for programs: anything that can be JSON."""
        self.data = data
        return self

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """The failure that an exception stands for."""
        if isinstance(error, Failure):
            return error
        return cls("TASK_FAILED", f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
