"""What works without any peer: `python3 -m unittest` in this directory."""

import importlib.machinery
import importlib.util
import os
import select
import subprocess
import sys
import unittest

from runner import measure, processes, systems, table

HERE = os.path.dirname(os.path.abspath(__file__))
loader = importlib.machinery.SourceFileLoader("run", os.path.join(HERE, "run"))
run = importlib.util.module_from_spec(importlib.util.spec_from_loader("run", loader))
loader.exec_module(run)

FIGURES = {
    "version": "1", "tasks": 100, "send_per_second": 2000.0, "drain_per_second": 1000.0, "worker_cpu_us": 10.0,
    "database_cpu_us": 20.0, "wal_bytes": 300.0, "start_p50_ms": 1.0, "start_p99_ms": 2.0,
}


class Arguments(unittest.TestCase):
    def test_everything_is_run_unless_told_otherwise(self):
        options = run.arguments([])
        self.assertEqual((options.tasks, options.rounds, options.repeat), (50_000, 200, 3))
        self.assertEqual(options.only, systems.SYSTEMS)

    def test_only_takes_keys_in_their_order(self):
        options = run.arguments(["--only", "pg-boss,awa"])
        self.assertEqual([system.key for system in options.only], ["pg-boss", "awa"])

    def test_what_makes_no_sense_is_refused(self):
        for wrong in (["--only", "nothing"], ["--tasks", "0"], ["--repeat", "x"]):
            with self.subTest(wrong), self.assertRaises(SystemExit), quiet():
                run.arguments(wrong)

    def test_the_versions_are_those_of_the_lock_files(self):
        for system in systems.SYSTEMS:
            if system.kind != "hostler":
                self.assertRegex(system.version(), r"^\d+\.\d+\.\d+")


class Table(unittest.TestCase):
    def test_medians_are_of_each_figure(self):
        runs = [{"version": "1", "a": 3}, {"version": "1", "a": 1}, {"version": "1", "a": 2, "b": 7}]
        self.assertEqual(table.medians(runs), {"version": "1", "a": 2, "b": 7})

    def test_ratios_are_hostlers_to_the_peers(self):
        by_key = {system.key: system for system in systems.SYSTEMS}
        chosen = [by_key["hostler"], by_key["awa"]]
        runs = {"hostler": [FIGURES | {"drain_per_second": 2500.0}], "awa": [FIGURES]}
        rows = table.render(["head"], chosen, runs, {}).splitlines()[-2:]
        self.assertNotIn("times", rows[0])
        self.assertIn("| 1,000 | 2.50 times | 2,000 | 1.00 times | 1.0 / 2.0 | none | 10 + 20 | 300 |", rows[1])

    def test_every_row_has_the_heads_columns(self):
        runs = {system.key: [FIGURES] for system in systems.SYSTEMS}
        rows = [line for line in table.render([], systems.SYSTEMS, runs, {}).splitlines() if line.startswith("|")]
        self.assertEqual(len(rows), len(systems.SYSTEMS) + 2)
        self.assertEqual({row.count("|") for row in rows}, {len(table.HEAD) + 1})

    def test_what_failed_is_told(self):
        by_key = {system.key: system for system in systems.SYSTEMS}
        text = table.render([], [by_key["awa"]], {"awa": []}, {"awa": "no such thing"})
        self.assertIn("awa failed: no such thing", text)


class Processes(unittest.TestCase):
    def tearDown(self):
        processes.end_all()

    def test_a_failure_carries_the_last_words(self):
        argv = [sys.executable, "-c", "import sys; sys.exit('broken')"]
        with self.assertRaisesRegex(RuntimeError, "code 1: broken"):
            measure.run(argv, os.environ)

    def test_ending_one_ends_its_children(self):
        process = processes.start(["sh", "-c", "sleep 600 & echo; wait"], stdout=subprocess.PIPE)
        processes.line(process, 10)
        # The pipe ends when the last process that could write to it has.
        pipe = os.dup(process.stdout.fileno())
        processes.end(process)
        self.assertTrue(select.select([pipe], [], [], 10)[0])
        self.assertEqual(os.read(pipe, 1), b"")
        os.close(pipe)

    def test_percentiles_are_values_that_were_measured(self):
        self.assertEqual(measure.percentile(list(range(100)), 0.99), 98)
        self.assertEqual(measure.percentile([5], 0.99), 5)


def quiet():
    import contextlib
    import io

    return contextlib.redirect_stderr(io.StringIO())


if __name__ == "__main__":
    unittest.main()
