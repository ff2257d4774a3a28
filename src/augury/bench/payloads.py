"""What is asked: rows of a file, the model's own examples, or rows made up, each different."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

import msgspec
import numpy as np

from augury.bench.dialects.base import RAW, Encoded, Model, Row
from augury.bench.lines import MAX_BYTES, MAX_LINE_BYTES, open_lines
from augury.bench.load.wire import encode_request
from augury.bench.target import Target
from augury.core.errors import OperatorError

Format = Literal["jsonl", "csv", "tsv", "txt"]
FORMATS: Final = get_args(Format)
# All of them are held in memory as whole requests.
MAX_ROWS: Final = 1_000_000
_ENDINGS: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".json": "jsonl",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".tab": "tsv",
    ".tsv": "tsv",
    ".txt": "txt",
}


def read_rows(
    path: Path,
    model: Model,
    column: str | None = None,
    *,
    raw: bool = False,
    format: Format | None = None,
) -> list[Row]:
    """The rows of a file: ``txt`` a text a line, ``csv`` and ``tsv`` a text a record, ``jsonl`` a value a line.

    Args:
        path: The file; ``-`` is standard input.
        model: Tells the input that a text goes into.
        column: For csv and tsv: a name in the header, or a number from 1 for a file without one; the
            model's input, ``text``, or the last column when not given.  For jsonl: the member.
        raw: Lines are whole bodies.
        format: Of the file; ``None``: its ending tells, and standard input is jsonl.

    Raises:
        OperatorError: No such file, no row, an ending that tells no format, a line that cannot be read, or over a
            million rows or 512 MiB.
    """
    name = model.inputs[0].name if model.inputs else "text"
    told: Format = "txt" if raw else format or _format_of(path)
    if column is not None and told == "txt":
        raise OperatorError("a text file has no columns")
    rows: list[Row] = []
    with open_lines(path) as lines:
        values: Iterator[Any]
        if told in ("csv", "tsv"):
            values = _cells(path, _records(lines, told), column, name)
        elif told == "jsonl":
            values = _members(path, lines, column)
        else:
            values = (line.rstrip("\r\n") for line in lines if line.strip())
        for value in values:
            if len(rows) >= MAX_ROWS:
                raise OperatorError(f"{path}: more than {MAX_ROWS:,} rows")
            rows.append(
                {RAW: value} if raw else value if isinstance(value, dict) else {name: value}
            )
    if not rows:
        raise OperatorError(f"{path} holds no row")
    return rows


def _format_of(path: Path) -> Format:
    if str(path) == "-":
        return "jsonl"
    found = _ENDINGS.get(path.suffix.lower())
    if found is None:
        raise OperatorError(
            f"the name of {str(path)!r} does not tell what it holds; say so with --format {'|'.join(FORMATS)}"
        )
    return found


def _records(lines: Iterator[str], format: Format) -> Iterator[list[str]]:
    if format == "csv":
        csv.field_size_limit(MAX_LINE_BYTES)
        try:
            yield from csv.reader(lines)
        except csv.Error as error:
            raise OperatorError(f"no CSV: {error}") from None
    else:
        for line in lines:
            yield line.rstrip("\r\n").split("\t")


def _cells(
    path: Path, records: Iterator[list[str]], column: str | None, name: str
) -> Iterator[str]:
    header = next(records, None)
    if header is None:
        return
    if column is not None and column.isdigit():
        index = int(column) - 1
        if not 0 <= index < len(header):
            raise OperatorError(f"{path} has {len(header)} columns, not {column}")
        yield header[index]
    else:
        wanted = [column] if column is not None else [name, "text"]
        known = [one for one in wanted if one in header]
        if column is not None and not known:
            raise OperatorError(f"{path} has no column {column!r}; its header: {', '.join(header)}")
        index = header.index(known[0]) if known else len(header) - 1
        if not known:
            yield header[index]
    for number, record in enumerate(records, 2):
        if not record or record == [""]:
            continue
        if len(record) <= index:
            raise OperatorError(
                f"{path}:{number}: {len(record)} columns, the wanted one is {index + 1}"
            )
        yield record[index]


def _members(path: Path, lines: Any, column: str | None) -> Iterator[Any]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise OperatorError(f"{path}:{number}: no JSON in this line") from None
        if column is not None:
            if not isinstance(value, dict) or column not in value:
                raise OperatorError(f"{path}:{number}: no member {column!r}")
            value = value[column]
        yield value


def make_rows(model: Model, count: int, rng: np.random.Generator) -> list[Row]:
    """*count* rows, each different: examples whose texts get a number, numbers drawn anew.

    Numbers are whole, so that each is exact in FP16 and in JSON.

    Raises:
        OperatorError: The server tells neither inputs nor an example.
    """
    if not model.inputs:
        raise OperatorError(
            "the server does not tell the model's inputs; give rows with --input FILE"
        )
    if not 1 <= count <= MAX_ROWS:
        raise OperatorError(f"{count:,} rows; 1 to {MAX_ROWS:,} can be made")
    example = model.examples[0] if model.examples else {}
    rows: list[Row] = []
    for number in range(count):
        row: dict[str, Any] = {}
        for spec in model.inputs:
            if spec.datatype == "BYTES":
                row[spec.name] = _numbered(example.get(spec.name, "row"), number)
            else:
                shape = [1 if size < 0 else size for size in spec.shape]
                high = 2 if spec.datatype == "BOOL" else 100 if "INT8" in spec.datatype else 2000
                values = rng.integers(0, high, shape)
                if values.size > 1 and high > 2:
                    # The number itself in two digits to the base 2,000 (or 100): no two are alike.
                    values.reshape(-1)[:2] = number % high, number // high % high
                as_bool = spec.datatype == "BOOL"
                as_float = spec.datatype.startswith(("FP", "BF"))
                row[spec.name] = values.astype(
                    bool if as_bool else float if as_float else int
                ).tolist()
        rows.append(row)
    return rows


def _numbered(value: Any, number: int) -> Any:
    if isinstance(value, list):
        return [_numbered(one, number) for one in value]
    return f"{value} {number}" if isinstance(value, str) else value


def encode_requests(
    target: Target,
    rows: Sequence[Row],
    rows_per_request: int = 1,
    *,
    headers: Sequence[tuple[str, str]] = (),
    dialect_encode: Any = None,
) -> list[bytes]:
    """Whole requests for *rows*, so many in each; the last begins again at the first row.

    Raises:
        OperatorError: The dialect cannot say it, or they take more than 512 MiB.
    """
    encode = dialect_encode or target.dialect.encode
    requests: list[bytes] = []
    total = 0
    for group in groups(rows, rows_per_request):
        encoded: Encoded = encode(group, target.model)
        request = encode_request(
            target.path,
            target.host_header,
            [*headers_of(target, encoded.content_type), *headers],
            encoded.body,
        )
        total += len(request)
        if total > MAX_BYTES:
            raise OperatorError(
                f"the requests take more than {MAX_BYTES >> 20} MiB; give fewer rows"
            )
        requests.append(request)
    return requests


def headers_of(target: Target, content_type: str) -> list[tuple[str, str]]:
    """The headers of each request; one of the caller's own goes before ours."""
    own = {name.lower() for name, _ in target.headers}
    ours = [("Content-Type", content_type), ("Accept", "*/*")]
    return [*(one for one in ours if one[0].lower() not in own), *target.headers]


def groups(rows: Sequence[Row], size: int) -> Iterator[list[Row]]:
    """*rows* in groups of *size*; the last begins again at the first row.

    >>> [[row["n"] for row in group] for group in groups([{"n": 1}, {"n": 2}, {"n": 3}], 2)]
    [[1, 2], [3, 1]]
    """
    for start in range(0, len(rows), size):
        yield [rows[(start + i) % len(rows)] for i in range(size)]


def encode_expected(answers: Sequence[Any], rows_per_request: int) -> list[bytes]:
    """For each request of :func:`encode_requests` the rows that must be answered, as JSON."""
    return [
        msgspec.json.encode([answers[(start + i) % len(answers)] for i in range(rows_per_request)])
        for start in range(0, len(answers), rows_per_request)
    ]
