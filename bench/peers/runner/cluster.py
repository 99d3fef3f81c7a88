"""A fresh private PostgreSQL, set up as hostler's embedded server is."""

import glob
import os
import pwd
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

from . import processes

# Those of host/src/embedded/postmaster.rs, durable.
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_naptime": "15s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_checkpoints": "off",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
}


def binaries():
    """The directory of the newest server programs."""
    named = os.environ.get("HOSTLER_POSTGRES_BIN")
    found = [named] if named else sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda d: int(d.split("/")[4]))
    on_path = shutil.which("postgres")
    if not found and on_path:
        found = [os.path.dirname(os.path.realpath(on_path))]
    if not found or not os.path.exists(os.path.join(found[-1], "initdb")):
        raise SystemExit("found no PostgreSQL server programs; set HOSTLER_POSTGRES_BIN to their directory")
    return found[-1]


def account():
    """PostgreSQL refuses root: as whom its programs run, in Popen's words."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise SystemExit("PostgreSQL refuses to run as root, and there is no account postgres or nobody")


class Cluster:
    def __init__(self, parent):
        self.bin = binaries()
        self.account = account()
        self.root = tempfile.mkdtemp(prefix="hostler-peers-", dir=parent)
        self.data = os.path.join(self.root, "data")
        self.socket = os.path.join(self.root, "socket")
        self.log = os.path.join(self.root, "log")
        # PGDATA, PGOPTIONS and their kind speak of some other server.
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
        self.server = None

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.server and self.server.poll() is None:
            self.server.send_signal(signal.SIGINT)
            try:
                self.server.wait(20)
            except subprocess.TimeoutExpired:
                self.server.send_signal(signal.SIGQUIT)
        if self.server:
            self.server.wait()
        shutil.rmtree(self.root, ignore_errors=True)

    def _start(self):
        os.mkdir(self.socket, 0o700)
        for path in (self.root, self.socket):
            if self.account:
                os.chown(path, self.account["user"], self.account["group"])
        initdb = [os.path.join(self.bin, "initdb"), "--pgdata", self.data, "--username=postgres", "--encoding=UTF8"]
        initdb += ["--locale=C", "--data-checksums", "--no-instructions", "--auth-local=trust", "--auth-host=reject"]
        options = {"cwd": "/", "env": self.env, **self.account}
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **options)
        argv = [os.path.join(self.bin, "postgres"), "-D", self.data]
        for name, value in {**SETTINGS, "unix_socket_directories": self.socket}.items():
            argv += ["-c", f"{name}={value}"]
        with open(self.log, "w") as log:
            # Not through processes.start: a server is asked to stop, not killed.
            self.server = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True, **options)
        for _ in range(600):
            if self.server.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start: {open(self.log).read()}")
            ready = subprocess.run([os.path.join(self.bin, "pg_isready"), "-q", "-h", self.socket], env=self.env)
            if ready.returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError("PostgreSQL did not get ready within a minute")

    def url(self, database):
        return f"postgres://postgres@localhost:5432/{database}?host={self.socket.replace('/', '%2F')}&sslmode=disable"

    def sql(self, statement, database="postgres"):
        """The statement's answer as text."""
        argv = [os.path.join(self.bin, "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.socket, "-U", "postgres"]
        argv += ["-d", database, "-c", statement]
        answer = subprocess.run(argv, env=self.env, capture_output=True, text=True)
        if answer.returncode != 0:
            raise RuntimeError(f"PostgreSQL refused {statement!r}: {answer.stderr.strip()}")
        return answer.stdout.strip()

    def cpu_seconds(self):
        """CPU time of the whole server: backends that have ended count through the postmaster, which waits for them."""
        total = processes.cpu_seconds(self.server.pid, with_children=True)
        for child in processes.children(self.server.pid):
            try:
                total += processes.cpu_seconds(child)
            except (FileNotFoundError, ProcessLookupError):
                pass
        return total

    def wal_bytes(self):
        return float(self.sql("select pg_current_wal_insert_lsn() - '0/0'"))

    def flush_us(self, times=200):
        """What one durable write costs here: fdatasync of 8 kB appends, the median."""
        took = []
        path = os.path.join(self.root, "flush")
        with open(path, "wb", buffering=0) as file:
            for _ in range(times):
                began = time.perf_counter()
                file.write(b"\0" * 8192)
                os.fdatasync(file.fileno())
                took.append((time.perf_counter() - began) * 1e6)
        os.remove(path)
        return statistics.median(took)
