"""Amounts with units: `1h30m`, `64 MiB`."""

import re

_TIMES = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def milliseconds(text: str, what: str) -> int:
    """A duration in milliseconds: whole numbers with units, from large to small and each once."""
    total, smallest, rest = 0, float("inf"), text.strip()
    while found := re.match(r"(\d+)(ms|[smhd])\s*", rest):
        unit = _TIMES[found[2]]
        if unit >= smallest:
            break
        smallest = unit
        total += int(found[1]) * unit
        rest = rest[found.end() :]
    if rest or smallest == float("inf"):
        raise ValueError(f'{what}: {text!r} is no duration such as "500ms" or "1h30m"')
    return total


def size(text: str, what: str) -> int:
    """A size in bytes."""
    found = re.fullmatch(r"(\d+) *([KMG]iB|B)", text.strip())
    if not found:
        raise ValueError(f'{what}: {text!r} is no size such as "64 MiB"')
    return int(found[1]) * _SIZES[found[2]]
