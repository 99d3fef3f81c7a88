"""From a task's name and JSON to its function and back."""

import json
import traceback
from typing import Any

from . import shape
from .failure import Failure
from .host import log
from .task import Definition

_CONTRACT = "hostler:plugin@0.1.0"


def describe(name: str, version: str, tasks: dict[str, Definition]) -> dict[str, Any]:
    """What the host reads of a plugin."""
    described = [definition.describe(task) for task, definition in tasks.items()]
    return {"contract": _CONTRACT, "name": name, "version": version, "tasks": described}


def run(tasks: dict[str, Definition], task: str, args: bytes) -> bytes:
    """Runs the task with this short name, from JSON to JSON. Raises `Failure` and nothing else."""
    if task not in tasks:
        raise Failure("WORKER_RESOLUTION_ERROR", f"no task {task!r}; there are: {', '.join(tasks)}").never()
    definition = tasks[task]
    parsed = json.loads(args)
    try:
        fields = shape.read_fields(definition.fields, {} if parsed is None and not definition.fields else parsed)
    except shape.Misfit as misfit:
        message = f"at {misfit.path}: {misfit}" if misfit.path else str(misfit)
        wrong = Failure("ARGUMENT_TYPE_MISMATCH", message).never()
        raise wrong.with_data({"path": misfit.path or "."}) from None
    try:
        result = definition.run(**fields)
    except Failure:
        raise
    except Exception as error:
        log.error("".join(traceback.format_exception(error)).rstrip())
        raise Failure.of(error) from error
    return to_json(result)


def to_json(value: Any) -> bytes:
    """A value as UTF-8 JSON. Raises `Failure`."""
    try:
        text = json.dumps(value, default=shape.write, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Failure("RESULT_NOT_JSON", f"the task's result is no JSON: {error}").never() from error
