"""Answers to a file: JSON lines as the native API has them, or CSV and TSV with a column a score."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO, Final

import msgspec

from augury.app.local.rows import Format
from augury.core.signature import Signature, TensorSpec

ERROR_COLUMN: Final = "error"

_encoder: Final = msgspec.json.Encoder()
_BREAKS: Final = str.maketrans("\t\r\n", "   ")


class RowWriter:
    """Writes rows' answers; flushes after each call of :meth:`write`, so that a pipe sees them.

    Args:
        file: Where they go.
        format: jsonl, csv or tsv; the latter two begin with a header.
        signature: The model's.
        before: Members of the documents that stand before the outputs.
    """

    def __init__(
        self,
        file: BinaryIO,
        format: Format,
        signature: Signature,
        before: tuple[str, ...] = (),
    ) -> None:
        self._file = file
        self._format = format
        self._before = before
        self._columns = _columns(signature, before)
        self._header_due = format != "jsonl"

    def write(self, documents: Sequence[dict[str, Any]]) -> None:
        """Write *documents*: each a row's outputs, or its ``error``."""
        if self._format == "jsonl":
            self._file.write(b"".join(_encoder.encode(one) + b"\n" for one in documents))
            self._file.flush()
        else:
            records = [self._record(document) for document in documents]
            # Not before the first rows: a file that cannot be read should leave no trace.
            if self._header_due:
                names = [name for name, _, _ in self._columns]
                records.insert(0, [*self._before, *names, ERROR_COLUMN])
                self._header_due = False
            self._write_records(records)

    def _record(self, document: dict[str, Any]) -> list[str]:
        cells = [_cell(document[name]) for name in self._before]
        error = document.get(ERROR_COLUMN)
        if isinstance(error, dict) and "code" in error:
            return cells + [""] * len(self._columns) + [f"line {error['line']}: {error['detail']}"]
        for _, output, label in self._columns:
            value = document[output]
            cells.append(_cell(value if label is None else value[label]))
        return [*cells, ""]

    def _write_records(self, records: Iterable[list[str]]) -> None:
        text = io.StringIO()
        if self._format == "csv":
            csv.writer(text, lineterminator="\n").writerows(records)
        else:
            for record in records:
                text.write("\t".join(cell.translate(_BREAKS) for cell in record) + "\n")
        self._file.write(text.getvalue().encode())
        self._file.flush()


def _columns(signature: Signature, taken: tuple[str, ...]) -> list[tuple[str, str, str | None]]:
    """Column's name, output and label of each column; an output with labels has one for each."""
    columns: list[tuple[str, str, str | None]] = []
    for spec in signature.outputs:
        columns += [(label, spec.name, label) for label in _labels(spec)] or [
            (spec.name, spec.name, None)
        ]
    names = [name for name, _, _ in columns]
    if len({*names, *taken, ERROR_COLUMN}) == len(names) + len(taken) + 1:
        return columns
    return [
        (f"{output}.{label}" if label else output, output, label) for _, output, label in columns
    ]


def _labels(spec: TensorSpec) -> tuple[str, ...]:
    return spec.labels if len(spec.shape) == 1 else ()


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
