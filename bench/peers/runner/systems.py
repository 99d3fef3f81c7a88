"""What is compared: how each system is built and called, and what it keeps."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(os.path.dirname(HERE))
NODE = os.path.join(HERE, "node")
RUST = os.path.join(HERE, "rust")
TARGET = os.path.join(HERE, "target")


@dataclass(frozen=True)
class System:
    """One row of the table."""

    key: str
    kind: str  # hostler, rust or node
    package: str
    keeps: str
    note: str = ""
    # Slow systems get a share of the tasks, so that a run stays short; their rates do not depend on it.
    share: float = 1.0
    driver: tuple = ()
    env: dict = field(default_factory=dict)
    result: str = "none"

    def argv(self, command, url, count=None):
        program = {
            "rust": [os.path.join(TARGET, "release", "peers"), *self.driver],
            "node": [os.path.join(NODE, "node_modules", ".bin", "node"), *self.driver],
        }[self.kind]
        return [*program, command, url, *([str(count)] if count is not None else [])]

    def version(self):
        if self.kind == "node":
            with open(os.path.join(NODE, "package-lock.json")) as lock:
                return json.load(lock)["packages"][f"node_modules/{self.package}"]["version"]
        with open(os.path.join(RUST, "Cargo.lock")) as lock:
            return re.search(rf'name = "{self.package}"\nversion = "([^"]+)"', lock.read())[1]


SYSTEMS = [
    System("hostler", "hostler", "hostler", "row, result, every attempt", "a fresh sandbox for each attempt"),
    System("hostler-native", "hostler", "hostler", "row, result, every attempt", "native body", driver=("--without-sandbox",)),
    System(
        "graphile_worker", "rust", "graphile_worker", "nothing: row deleted", "Rust",
        driver=("graphile_worker",),
    ),
    System(
        "graphile-worker", "node", "graphile-worker", "nothing: row deleted", "Node, tuned",
        driver=(os.path.join(NODE, "graphile-worker.mjs"),), env={"TUNED": "1", "NO_LOG_SUCCESS": "1"},
    ),
    System(
        "graphile-worker-default", "node", "graphile-worker", "nothing: row deleted", "Node, without batching",
        driver=(os.path.join(NODE, "graphile-worker.mjs"),), env={"NO_LOG_SUCCESS": "1"}, share=0.2,
    ),
    System(
        "pg-boss", "node", "pg-boss", "row, output; last attempt only", "one handler call for 100 jobs",
        driver=(os.path.join(NODE, "pg-boss.mjs"),), result="by polling",
    ),
    System(
        "awa", "rust", "awa", "compact completion, no result", "queue storage", driver=("awa",),
        env={"AWA_COMPLETION_SHARDS": "2", "AWA_COMPLETION_FLUSH_MS": "10"},
    ),
    System("horsies", "rust", "horsies", "row, result, every attempt", "Rust", driver=("horsies",), share=0.1),
]


def build(chosen, hostler):
    """Builds what the chosen systems need. Returns the hostler binary, if one is needed."""
    kinds = {system.kind for system in chosen}
    if "rust" in kinds:
        env = os.environ | {"SQLX_OFFLINE": "true", "CARGO_TARGET_DIR": TARGET}
        subprocess.run(["cargo", "build", "--release", "--locked"], cwd=RUST, env=env, check=True)
    if "node" in kinds and not installed():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=NODE, check=True)
        shutil.copy(os.path.join(NODE, "package-lock.json"), os.path.join(NODE, "node_modules", ".installed"))
    if "hostler" in kinds and not hostler:
        subprocess.run(["cargo", "build", "--release", "--locked", "-p", "hostler"], cwd=ROOT, check=True)
        target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
        hostler = os.path.join(target, "release", "hostler")
    return hostler


def installed():
    """Whether the packages are those of the lock file."""
    try:
        with open(os.path.join(NODE, "node_modules", ".installed")) as was:
            with open(os.path.join(NODE, "package-lock.json")) as lock:
                return was.read() == lock.read()
    except FileNotFoundError:
        return False
