"""Figures to Markdown."""

import statistics

HEAD = [
    "system", "drain/s", "hostler is", "bulk send/s", "hostler is", "p50 / p99 ms to the handler", "to the result",
    "CPU µs a job: worker + database", "WAL bytes a job", "keeps per finished job", "jobs",
]


def medians(runs):
    """Each figure's median over the runs."""
    figures = {}
    for name in {name for run in runs for name in run}:
        values = [run[name] for run in runs if name in run]
        figures[name] = statistics.median(values) if not isinstance(values[0], str) else values[0]
    return figures


def render(header, systems, runs, errors):
    """The header's lines as a list, then the table. `runs` and `errors` go by the systems' keys."""
    lines = [f"- {line}" for line in header] + [""]
    lines += [row(HEAD), row(["---"] * len(HEAD))]
    found = {key: medians(those) for key, those in runs.items() if those}
    base = found.get("hostler")
    for system in systems:
        figures = found.get(system.key)
        if figures:
            lines.append(row(cells(system, figures, base)))
    lines += [f"\n{key} failed: {error}" for key, error in errors.items()]
    return "\n".join(lines)


def cells(system, figures, base):
    note = f" ({system.note})" if system.note else ""
    return [
        f"{system.package} {figures['version']}{note}",
        whole(figures["drain_per_second"]),
        ratio(base, figures, "drain_per_second"),
        whole(figures["send_per_second"]),
        ratio(base, figures, "send_per_second"),
        times(figures, "start") or "–",
        times(figures, "result") or system.result,
        f"{whole(figures['worker_cpu_us'])} + {whole(figures['database_cpu_us'])}",
        whole(figures["wal_bytes"]),
        system.keeps,
        whole(figures["tasks"]),
    ]


def row(cells):
    return f"| {' | '.join(cells)} |"


def whole(number):
    return f"{number:,.0f}"


def ratio(base, figures, name):
    """How many times hostler's rate is this one's."""
    if base is None or base is figures:
        return ""
    return f"{base[name] / figures[name]:.2f} times"


def times(figures, what):
    if f"{what}_p50_ms" not in figures:
        return ""
    return f"{figures[f'{what}_p50_ms']:.1f} / {figures[f'{what}_p99_ms']:.1f}"
