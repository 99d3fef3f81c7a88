"""Every process that a run starts, so that none outlives it."""

import os
import select
import signal
import subprocess
import tempfile

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

_alive = []


def start(argv, **options):
    """A process in a session of its own: Ctrl-C in the terminal is for us, and we end whole groups.

    What it says on stderr is kept for `failure`: peers greet with banners there.
    """
    complaints = tempfile.TemporaryFile(mode="w+")
    process = subprocess.Popen(argv, start_new_session=True, text=True, stderr=complaints, **options)
    process.complaints = complaints
    _alive.append(process)
    return process


def end(process):
    """Kills the process's group, if it still runs, and waits for it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.complaints):
        if stream:
            stream.close()
    if process in _alive:
        _alive.remove(process)


def end_all():
    for process in list(_alive):
        end(process)


def line(process, seconds):
    """The next line of the process's output; its end is an error, and so is silence."""
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    if not ready:
        raise RuntimeError(f"{describe(process)} said nothing for {seconds} s")
    answer = process.stdout.readline()
    if not answer:
        process.wait()
        raise failure(process)
    return answer.strip()


def finish(process, seconds):
    """Waits for the process and returns the last line it wrote."""
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{describe(process)} did not end within {seconds} s") from None
    if process.returncode != 0:
        raise failure(process)
    return output.strip().splitlines()[-1] if output.strip() else ""


def failure(process):
    """An ended process as an error, with the end of what it said."""
    process.complaints.seek(0)
    last = process.complaints.read().strip().splitlines()[-5:]
    return RuntimeError(f"{describe(process)} ended with code {process.returncode}: {' / '.join(last)}")


def describe(process):
    words = [os.path.basename(str(word)) for word in process.args if "://" not in str(word)]
    return f"`{' '.join(words)}`"


def cpu_seconds(pid, with_children=False):
    """CPU time of a process, user and system; with that of the children it has waited for if asked."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    ticks = [int(ticks) for ticks in fields[11:15]]
    return sum(ticks if with_children else ticks[:2]) / CLOCK_TICKS


def children(pid):
    """The processes whose parent this is, now."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    parent = int(stat.read().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == pid:
                found.append(int(entry))
    return found
