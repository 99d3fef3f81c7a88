"""The helper, natively. Run with `python3 -m unittest discover tests` from the directory above."""

import enum
import unittest
from dataclasses import dataclass, field
from datetime import timedelta
from types import ModuleType
from typing import Annotated, Any, Literal, Optional

from hostler_guest import Exponential, Failure, Fixed, attempt, cancellation, checkpoint, log, progress, task
from hostler_guest import shape, testing, units


class Side(enum.Enum):
    LEFT = "left"
    RIGHT = "right"


@dataclass
class Point:
    """A place."""

    x: float
    y: float = 0.0
    tags: list[str] = field(default_factory=list)


@task(retries=3, backoff=Exponential(base="1s", max="1m"), timeout="1h30m", memory="64 MiB")
def move(point: Point, side: Side, steps: Annotated[int, "How far."] = 1, unit: Literal["cm", "m"] = "m") -> Point:
    """Moves a point."""
    sign = 1 if side is Side.RIGHT else -1
    log.info(f"attempt {attempt.number()} of {attempt.id()}, in {unit}")
    progress.report(0.5, "half")
    return Point(point.x + sign * steps, point.y, point.tags)


@task()
def stop() -> bool:
    return cancellation.requested()


@task(backoff=Fixed("1s", "5s"))
def fail(how: str) -> Any:
    if how == "sold":
        raise Failure("SOLD_OUT", "none left").retry_after(timedelta(seconds=1.5)).with_data({"max": 5})
    if how == "nan":
        return float("nan")
    if how == "set":
        return {1, 2}
    return {}["nothing"]


PLUGIN = ModuleType("plugin")
PLUGIN.move, PLUGIN.stop, PLUGIN.fail, PLUGIN.helper = move, stop, fail, lambda: 1


class Guest(unittest.TestCase):
    def refused(self, task: str, args: Any) -> Failure:
        with self.assertRaises(Failure) as caught:
            testing.call(PLUGIN, task, args)
        return caught.exception

    def test_a_task_stays_a_function(self) -> None:
        self.assertEqual(move(Point(1), Side.RIGHT), Point(2))

    def test_tasks_are_described_with_types_and_policies(self) -> None:
        tasks = {described["name"]: described for described in testing.describe(PLUGIN)["tasks"]}
        self.assertEqual(list(tasks), ["move", "stop", "fail"])
        described = tasks["move"]
        self.assertEqual(described["description"], "Moves a point.")
        self.assertEqual(described["args_schema"]["required"], ["point", "side"])
        properties = described["args_schema"]["properties"]
        self.assertEqual(properties["steps"], {"type": "integer", "description": "How far."})
        self.assertEqual(properties["side"], {"enum": ["left", "right"]})
        self.assertEqual(properties["point"]["required"], ["x"])
        self.assertEqual(properties["point"]["description"], "A place.")
        policy = {
            "max_retries": 3,
            "backoff": {"kind": "exponential", "base_ms": 1000, "factor": 2.0, "max_ms": 60_000},
            "timeout_ms": 5_400_000,
            "memory_bytes_max": 64 << 20,
        }
        self.assertEqual(described["policy"], policy)
        self.assertEqual(tasks["fail"]["policy"]["backoff"], {"kind": "fixed", "delays_ms": [1000, 5000]})
        with self.assertRaisesRegex(TypeError, "no @task"):
            testing.describe(ModuleType("empty"))
        with self.assertRaisesRegex(TypeError, "no JSON Schema"):
            shape.schema(set[int])

    def test_calls_go_through_json(self) -> None:
        moved = testing.call(PLUGIN, "move", {"point": {"x": 1, "new": True}, "side": "left", "steps": 2.0})
        self.assertEqual(moved, {"x": -1.0, "y": 0.0, "tags": []})
        self.assertEqual(testing.call(PLUGIN, "stop"), False)

    def test_misfits_name_their_place(self) -> None:
        good = {"point": {"x": 1}, "side": "left"}
        for more, path in [
            ({"point": {"x": "1"}}, "/point/x"),
            ({"point": {"x": True}}, "/point/x"),
            ({"point": {"x": 1, "tags": ["a", 2]}}, "/point/tags/1"),
            ({"point": {}}, "/point"),
            ({"point": []}, "/point"),
            ({"side": "up"}, "/side"),
            ({"steps": 1.5}, "/steps"),
            ({"unit": "km"}, "/unit"),
            ({"other": 1}, "/other"),
        ]:
            failure = self.refused("move", good | more)
            self.assertEqual((failure.code, failure.retry), ("ARGUMENT_TYPE_MISMATCH", "never"))
            self.assertEqual(failure.data, {"path": path}, more)
        self.assertEqual(self.refused("move", None).data, {"path": "."})
        self.assertEqual(self.refused("nope", {}).code, "WORKER_RESOLUTION_ERROR")

    def test_unions_take_what_fits(self) -> None:
        kind = Optional[list[int] | Point]
        self.assertEqual(shape.read(kind, None), None)
        self.assertEqual(shape.read(kind, [1]), [1])
        self.assertEqual(shape.read(kind, {"x": 1}), Point(1))
        with self.assertRaises(shape.Misfit) as caught:
            shape.read(kind, [1, "a"])
        self.assertEqual(caught.exception.path, "/1")

    def test_failures_exceptions_and_results_that_are_no_json(self) -> None:
        sold = self.refused("fail", {"how": "sold"})
        self.assertEqual((sold.code, sold.retry, sold.data), ("SOLD_OUT", 1500, {"max": 5}))
        for how in ["nan", "set"]:
            self.assertEqual(self.refused("fail", {"how": how}).code, "RESULT_NOT_JSON")
        with testing.in_attempt() as seen:
            broken = self.refused("fail", {"how": "else"})
        self.assertEqual((broken.code, broken.message), ("TASK_FAILED", "KeyError: 'nothing'"))
        self.assertIn("Traceback", seen.logs[0][1])

    def test_a_test_sees_what_a_task_saw_and_said(self) -> None:
        with testing.in_attempt(number=2, id="x", cancelled=True) as seen:
            move(Point(1), Side.LEFT)
            self.assertTrue(stop())
        self.assertEqual(seen.logs, [("info", "attempt 2 of x, in m")])
        self.assertEqual(seen.progress, [(0.5, "half")])

    def test_a_step_is_done_once(self) -> None:
        with testing.in_attempt(kept={"one": 7}) as seen:
            self.assertEqual(checkpoint.step("one", lambda: self.fail("it was done before")), 7)
            self.assertEqual(checkpoint.step("two", lambda: 8), 8)
            self.assertEqual(checkpoint.step("two", lambda: 9), 8)
            self.assertIsNone(checkpoint.recall("three"))
        self.assertEqual(seen.kept, {"one": 7, "two": 8})

    def test_units(self) -> None:
        self.assertEqual(units.milliseconds("1d 2h3m4s5ms", ""), 93_784_005)
        self.assertEqual(units.size("4 GiB", ""), 4 << 30)
        for slip in ["", "5", "1m1h", "1.5s", "1s1s"]:
            self.assertRaises(ValueError, units.milliseconds, slip, "timeout")
        for slip in ["", "64", "64 MB", "-1 B"]:
            self.assertRaises(ValueError, units.size, slip, "memory")


if __name__ == "__main__":
    unittest.main()
