"""The plugin `table`: what a CSV text holds, column by column."""

import csv
import io
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Literal, Optional

from hostler_guest import Failure, cancellation, log, progress, task

ROWS_BETWEEN_REPORTS = 10_000


@dataclass
class Numbers:
    """What the numbers of a column are like."""

    smallest: float
    largest: float
    mean: float
    median: float
    deviation: float


@dataclass
class Column:
    """One column."""

    name: str
    kind: Literal["number", "text", "empty"]
    filled: int
    distinct: int
    most_common: list[str]
    numbers: Optional[Numbers]


@dataclass
class Summary:
    """All of it."""

    rows: int
    delimiter: str
    columns: list[Column]


@task(retries=0, timeout="60s", memory="128 MiB")
def summarize(
    csv_text: Annotated[str, "The text; its first row names the columns."],
    delimiter: Annotated[Optional[str], "What stands between cells; found out if left out."] = None,
    most_common: Annotated[int, "How many of the most common values are told."] = 3,
) -> Summary:
    """Summarizes a CSV text."""
    rows, delimiter = _reader(csv_text, delimiter)
    names = next(rows, [])
    if not names:
        raise Failure("NO_HEADER", "the text has no first row").never()
    cells: list[list[str]] = [[] for _ in names]
    count = 0
    for row in rows:
        if not row:
            continue
        if len(row) > len(names):
            raise Failure("ROW_TOO_LONG", f"line {rows.line_num} has {len(row)} cells for {len(names)} columns").never()
        count += 1
        for column, cell in zip(cells, row):
            column.append(cell.strip())
        if count % ROWS_BETWEEN_REPORTS == 0:
            progress.report(0.5, f"{count} rows")
            if cancellation.requested():
                raise Failure("STOPPED", f"after {count} rows").never()
    log.info(f"{count} rows of {len(names)} columns")
    columns = [_column(name.strip(), values, most_common) for name, values in zip(names, cells)]
    return Summary(count, delimiter, columns)


def _reader(text: str, delimiter: Optional[str]) -> tuple["csv.Reader", str]:
    if delimiter is None:
        try:
            delimiter = csv.Sniffer().sniff(text[:8192], delimiters=",;\t|").delimiter
        except csv.Error:
            # A single column has none.
            delimiter = ","
    if len(delimiter) != 1:
        raise Failure("BAD_DELIMITER", f"{delimiter!r} is not one character").never()
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), delimiter


def _column(name: str, values: list[str], most_common: int) -> Column:
    filled = [value for value in values if value]
    counted = Counter(filled)
    common = [value for value, _ in counted.most_common(most_common)]
    numbers = _numbers(filled)
    kind: Literal["number", "text", "empty"] = "number" if numbers else "text" if filled else "empty"
    return Column(name, kind, len(filled), len(counted), common, numbers)


def _numbers(values: list[str]) -> Optional[Numbers]:
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return None
    # "nan" and "inf" are words here, not numbers.
    if not numbers or any(number - number != 0 for number in numbers):
        return None
    mean = statistics.fmean(numbers)
    deviation = statistics.pstdev(numbers, mean)
    return Numbers(min(numbers), max(numbers), mean, statistics.median(numbers), deviation)
