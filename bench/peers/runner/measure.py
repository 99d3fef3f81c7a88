"""One system's measurements: bulk send, drain, latency."""

import json
import os
import subprocess
import sys

from . import processes

# Longer than anything here takes; a system that hangs must not hang the run.
PATIENCE = 300
ROUNDS_PATIENCE = 60


def measure(system, cluster, tasks, rounds, hostler):
    """One run of one system, as the figures of one row."""
    if system.kind == "hostler":
        return hostler_bench(system, cluster, tasks, rounds, hostler)
    tasks = max(1, round(tasks * system.share))
    figures = throughput(system, cluster, tasks)
    try:
        figures |= latency(system, cluster, rounds)
    except Exception as error:  # a peer that loses a job has still drained the others
        print(f"{system.key}: no latency: {error}", file=sys.stderr)
    return {"version": system.version(), "tasks": tasks, **figures}


def hostler_bench(system, cluster, tasks, rounds, hostler):
    """hostler measures itself, in a database of its own on the same server."""
    cluster.sql("checkpoint")
    argv = [hostler, "bench", "--json", "--database-url", cluster.url("postgres")]
    # Compiled guests go where the server's files are, and with them.
    argv += ["--data-dir", os.path.join(cluster.root, "hostler"), "--idle", "1"]
    argv += ["--tasks", str(tasks), "--rounds", str(rounds), *system.driver]
    said = json.loads(run(argv, os.environ))
    send, drain = said["send"], said["drain"]
    figures = {
        "version": said["version"],
        "tasks": said["tasks"],
        "send_per_second": send["per_second"],
        "drain_per_second": drain["per_second"],
        "worker_cpu_us": drain["host_cpu_us_per_task"],
        "database_cpu_us": drain["database_cpu_us_per_task"],
        "wal_bytes": drain["wal_bytes_per_task"],
    }
    for what in ("start", "result"):
        # A native body does not tell when it starts.
        for share in ("p50_ms", "p99_ms") if said["latency"].get(what) else ():
            figures[f"{what}_{share}"] = said["latency"][what][share]
    return figures


def throughput(system, cluster, tasks):
    """Sends everything, then lets one worker process drain it."""
    with Database(cluster, "throughput") as url:
        env = os.environ | system.env
        run(system.argv("prepare", url), env)
        cluster.sql("checkpoint")
        sent = json.loads(run(system.argv("send", url, tasks), env))
        # As autovacuum would within a minute: without statistics some plans are several times slower.
        cluster.sql("analyze", "throughput")
        pipe = subprocess.PIPE
        worker = processes.start(system.argv("drain", url, tasks), stdin=pipe, stdout=pipe, env=env)
        try:
            said(worker, "ready")
            wal = cluster.wal_bytes()
            before = cluster.cpu_seconds(), processes.cpu_seconds(worker.pid)
            say(worker, "go")
            drained = json.loads(processes.line(worker, PATIENCE))
            after = cluster.cpu_seconds(), processes.cpu_seconds(worker.pid)
            wal = cluster.wal_bytes() - wal
        finally:
            processes.end(worker)
    if drained["starts"] < tasks:
        raise RuntimeError(f"{system.key} ran {drained['starts']} of {tasks} jobs")
    return {
        "send_per_second": tasks / sent["seconds"],
        "drain_per_second": tasks / drained["seconds"],
        "database_cpu_us": (after[0] - before[0]) / tasks * 1e6,
        "worker_cpu_us": (after[1] - before[1]) / tasks * 1e6,
        "wal_bytes": wal / tasks,
    }


def latency(system, cluster, rounds):
    """One job after the other, from a process of its own; the worker's lines go straight to the sender."""
    with Database(cluster, "latency") as url:
        env = os.environ | system.env
        run(system.argv("prepare", url), env)
        cluster.sql("checkpoint")
        worker = processes.start(system.argv("serve", url), stdout=subprocess.PIPE, env=env)
        try:
            answer = json.loads(run(system.argv("rounds", url, rounds), env, stdin=worker.stdout, patience=ROUNDS_PATIENCE))
        finally:
            processes.end(worker)
    figures = {}
    for what in ("start", "result"):
        took = sorted(answer[f"{what}_us"])
        if took:
            figures[f"{what}_p50_ms"] = percentile(took, 0.5) / 1000
            figures[f"{what}_p99_ms"] = percentile(took, 0.99) / 1000
    return figures


def percentile(ordered, share):
    """The value at a share of an ordered list, as hostler's own benches take it."""
    return ordered[round((len(ordered) - 1) * share)]


class Database:
    """A fresh database, dropped afterwards."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name

    def __enter__(self):
        self.cluster.sql(f"create database {self.name}")
        return self.cluster.url(self.name)

    def __exit__(self, *_):
        self.cluster.sql(f"drop database {self.name} with (force)")


def run(argv, env, stdin=subprocess.DEVNULL, patience=PATIENCE):
    process = processes.start(argv, stdin=stdin, stdout=subprocess.PIPE, env=env)
    try:
        return processes.finish(process, patience)
    finally:
        processes.end(process)


def said(worker, word):
    answer = processes.line(worker, PATIENCE)
    if answer != word:
        raise RuntimeError(f"{processes.describe(worker)} said {answer!r} instead of {word!r}")


def say(worker, word):
    worker.stdin.write(f"{word}\n")
    worker.stdin.flush()
