"""`@task`, and what it makes of a function."""

import dataclasses
import inspect
import typing
from types import ModuleType
from typing import Any, Callable, Optional, TypeVar

from . import shape, units

F = TypeVar("F", bound=Callable[..., Any])

_DEFINITION = "__hostler_task__"


@dataclasses.dataclass(frozen=True)
class Fixed:
    """The waits between attempts; the last one repeats."""

    delays: tuple[str, ...]

    def __init__(self, *delays: str) -> None:
        object.__setattr__(self, "delays", delays)

    def wire(self) -> dict[str, Any]:
        """As the host reads it."""
        return {"kind": "fixed", "delays_ms": [units.milliseconds(delay, "backoff") for delay in self.delays]}


@dataclasses.dataclass(frozen=True)
class Exponential:
    """A growing wait between attempts."""

    base: str
    max: str
    factor: float = 2.0

    def wire(self) -> dict[str, Any]:
        """As the host reads it."""
        base, most = units.milliseconds(self.base, "base"), units.milliseconds(self.max, "max")
        return {"kind": "exponential", "base_ms": base, "factor": self.factor, "max_ms": most}


@dataclasses.dataclass(frozen=True)
class Definition:
    """What the host is told of a task, and how its arguments are read."""

    run: Callable[..., Any]
    description: str
    fields: dict[str, tuple[Any, bool]]
    returns: Any
    policy: dict[str, Any]

    def describe(self, name: str) -> dict[str, Any]:
        """Its part of the descriptor."""
        if self.fields:
            args: Any = shape.fields_schema(self.fields, closed=True)
        else:
            args = {"type": ["null", "object"], "maxProperties": 0}
        return {
            "name": name,
            "description": self.description,
            "args_schema": args,
            "result_schema": shape.schema(self.returns),
            "policy": self.policy,
        }


def task(
    *,
    retries: Optional[int] = None,
    backoff: Fixed | Exponential | None = None,
    jitter: Optional[bool] = None,
    retry_on: Optional[list[str]] = None,
    timeout: Optional[str] = None,
    cpu: Optional[str] = None,
    memory: Optional[str] = None,
    result_max: Optional[str] = None,
    redeliveries: Optional[int] = None,
    keep_input: Optional[bool] = None,
) -> Callable[[F], F]:
    """Makes a task of a function, which stays what it is. What is left out is the host's default.

    Durations are `500ms`, `30s`, `1h30m`; sizes are `B`, `KiB`, `MiB`, `GiB`.
    """
    wanted = {
        "max_retries": retries,
        "backoff": backoff and backoff.wire(),
        "jitter": jitter,
        "retry_on": retry_on,
        "timeout_ms": timeout and units.milliseconds(timeout, "timeout"),
        "cpu_ms_max": cpu and units.milliseconds(cpu, "cpu"),
        "memory_bytes_max": memory and units.size(memory, "memory"),
        "result_bytes_max": result_max and units.size(result_max, "result_max"),
        "redeliveries": redeliveries,
        "keep_input": keep_input,
    }
    policy = {name: value for name, value in wanted.items() if value is not None}

    def define(function: F) -> F:
        hints = typing.get_type_hints(function, include_extras=True)
        fields = {}
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(f"{function.__name__}: the parameter {name} cannot be a field of the arguments")
            fields[name] = (hints.get(name, Any), parameter.default is parameter.empty)
        description = inspect.cleandoc(function.__doc__ or "")
        definition = Definition(function, description, fields, hints.get("return", Any), policy)
        setattr(function, _DEFINITION, definition)
        return function

    return define


def tasks_of(module: ModuleType) -> dict[str, Definition]:
    """The tasks of a module, by the names they are served under."""
    found = {name: getattr(value, _DEFINITION, None) for name, value in vars(module).items()}
    tasks = {name: definition for name, definition in found.items() if isinstance(definition, Definition)}
    if not tasks:
        raise TypeError(f"the module {module.__name__} has no @task")
    return tasks
