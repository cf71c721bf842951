"""How commands print: results to standard output, as a table or as JSON; errors to standard error, with a hint.

Tables are plain columns. Names come from nodes and operators, so characters that control a terminal are escaped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from littoral.errors import FleetError
from littoral.metric import Metric, is_judged
from littoral_cloud.terminal.text import printable


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="The coordinator's data folder. [LITTORAL_DATA_DIR]", show_default=False)
]
FormatOption = Annotated[Format, typer.Option("--format", help="Output format; json is for programs.")]


def emit(
    data: Any,
    format: Format | str = Format.TABLE,
    *,
    columns: Sequence[str] | None = None,
    empty: str = "nothing",
    out: TextIO | None = None,
) -> None:
    """Prints a result.

    Args:
        data: a mapping, a dataclass, or a sequence of them; with `Format.JSON` any JSON value.
        columns: of the table, in this order; None: every key of the rows. JSON always has every key.
        empty: the line of a table without rows, like "no nodes".
    """
    stream = sys.stdout if out is None else out
    plain = _plain(data)
    if format == Format.JSON:
        stream.write(json.dumps(plain, indent=2, allow_nan=False) + "\n")
    elif isinstance(plain, Mapping):
        stream.writelines(_columns([(f"{name}:", _cell(value)) for name, value in plain.items()]))
    elif isinstance(plain, list):
        stream.writelines(table(plain, columns) if plain else [f"{empty}\n"])
    else:
        stream.write(f"{_cell(plain)}\n")
    stream.flush()


def emit_parts(head: Mapping[str, Any], name: str, rows: Sequence[Any], format: Format) -> None:
    """Prints what there is of one thing, and below it the rows of its parts; for programs these are the key `name`."""
    if format == Format.JSON:
        emit({**head, name: rows}, format)
        return
    emit(head)
    if rows:
        sys.stdout.write("\n")
        emit(rows)


def emit_line(data: Any) -> None:
    """Prints one JSON value on one line, for commands that print several."""
    print(json.dumps(_plain(data), allow_nan=False), flush=True)


def table(rows: Sequence[Any], columns: Sequence[str] | None = None) -> Iterable[str]:
    """Lines of aligned columns under a heading."""
    names = list(columns) if columns is not None else list(dict.fromkeys(name for row in rows for name in row))
    return _columns(
        [[name.upper().replace("_", " ") for name in names], *([_cell(row.get(name)) for name in names] for row in rows)]
    )


def emit_error(error: FleetError, format: Format = Format.TABLE, out: TextIO | None = None) -> None:
    """Prints an error to standard error; as one line of JSON for programs."""
    stream = sys.stderr if out is None else out
    if format == Format.JSON:
        stream.write(json.dumps({"error": error.as_dict()}) + "\n")
        return
    stream.write(f"error: {printable(error.message)}\n")
    if error.hint:
        stream.write(f"  hint: {printable(error.hint)}\n")


def emit_remarks(named: Iterable[tuple[str, Iterable[str]]]) -> None:
    """Prints a warning to standard error for each remark, with the name of its subject."""
    for name, remarks in named:
        for remark in remarks:
            notice(f"warning: {name}: {remark}")


def notice(text: str) -> None:
    """Prints a line about the work to standard error."""
    print(printable(text), file=sys.stderr, flush=True)


def remarked(remarks: Sequence[str], format: Format) -> dict[str, Any]:
    """The cell of a row's remarks: none without remarks, but always for programs."""
    return {"remarks": list(remarks)} if remarks or format == Format.JSON else {}


def by_class(worst: tuple[str, float] | None, accuracy: Mapping[str, float], format: Format) -> dict[str, Any]:
    """The cells beside a mean accuracy: the worst class, and for programs the accuracy of each class by its label."""
    label, least = worst or ("", None)
    if format == Format.JSON:
        return {"worst_class": least, "worst_label": label, "class_accuracy": dict(accuracy)}
    return {"worst_class": None if least is None else f"{least:.6g} ({label})"}


def worth(accuracy: float, metric: Metric | None, format: Format, *, classes: Mapping[str, float]) -> dict[str, Any]:
    """The cells of an artifact's quality. A table has one cell, with the metric's name where that is not the accuracy.

    `classes`: accuracy by class. There is no value where it was never measured.
    """
    found = accuracy if is_judged(accuracy, None, classes) else None
    if format == Format.JSON:
        return {"accuracy": found, "metric": None if metric is None else asdict(metric)}
    return {"accuracy": found if metric is None else f"{metric.name} {metric.value:.6g}"}


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows]


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return printable(",".join(f"{name}={_cell(part)}" for name, part in value.items())) or "-"
    if isinstance(value, list):
        return printable(",".join(_cell(part) for part in value)) or "-"
    return printable(str(value))


def _plain(value: Any) -> Any:
    """A value as JSON types."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Iterable):
        return [_plain(part) for part in value]
    raise TypeError(f"{type(value).__name__} cannot be printed")
