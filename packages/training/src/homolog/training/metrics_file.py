"""One table of what was logged, however often a training was interrupted."""

import csv
import io
from pathlib import Path

from homolog.core.atomic import write_bytes

METRICS = "metrics.csv"


def write_metrics(logs: Path, path: Path) -> None:
    """Join what each run of a stage logged; where runs overlap, the later one counts.

    Args:
        logs: folder with `version_0/metrics.csv` and so on, as Lightning's CSVLogger makes them.
        path: of the table.
    """
    rows: list[dict[str, str]] = []
    files = sorted(logs.glob(f"version_*/{METRICS}"), key=lambda file: int(file.parent.name.split("_")[1]))
    for file in files:
        with file.open(newline="", encoding="utf-8") as opened:
            read = list(csv.DictReader(opened))
        if read:
            first = int(read[0]["step"])
            rows = [row for row in rows if int(row["step"]) < first] + _by_step(read)
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, ["step", *(name for name in names if name not in {"step", "epoch"})])
    writer.writeheader()
    writer.writerows({name: value for name, value in row.items() if name != "epoch"} for row in rows)
    write_bytes(path, table.getvalue().encode())


def _by_step(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Join the rows of a step: what was held out is logged after what was learnt from."""
    joined: dict[str, dict[str, str]] = {}
    for row in rows:
        known = {name: value for name, value in row.items() if value}
        joined[row["step"]] = {**row, **joined.get(row["step"], {}), **known}
    return list(joined.values())
