"""A classifier's answers, held against the labels of a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from augury.app.local.output import RowWriter
from augury.app.local.rows import Format
from augury.app.local.stream import Answers
from augury.core.errors import InvalidInput, OperatorError
from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import Array
from augury.monitor.evaluation import ClassificationReport, evaluate_classification


def scores_output(signature: Signature) -> TensorSpec:
    """The output that holds a score for each label.

    Raises:
        OperatorError: There is none: the model is no classifier that could be evaluated.
    """
    for spec in signature.outputs:
        if spec.labels and len(spec.shape) == 1 and spec.datatype.startswith("FP"):
            return spec
    names = ", ".join(spec.name for spec in signature.outputs)
    raise OperatorError(
        f"none of the model's outputs ({names}) has labels, so it cannot be evaluated; name the "
        'classes in model.toml: [signature.outputs.scores] labels = ["…", "…"]'
    )


@dataclass(slots=True)
class Measurement:
    """Collects truth and scores; some tens of bytes for each row.

    Args:
        scores: The output to measure.
        truth: The true label of each row that has an answer.
        parts: Its scores.
        first_fault: Why the first row that failed did.
    """

    scores: TensorSpec
    truth: list[str] = field(default_factory=list)
    parts: list[Array] = field(default_factory=list)
    first_fault: str = ""

    def add(self, answers: Answers) -> None:
        """Take over what has an answer.

        Raises:
            InvalidInput: A label that the model does not have; tells the line.
        """
        for place, row in enumerate(answers.rows):
            if row.label not in self.scores.labels and not _unreadable(answers, place):
                raise InvalidInput(
                    f"line {row.line}: label {row.label[:100]!r} is none of the model's: "
                    f"{', '.join(self.scores.labels)} (--label-column tells the column)",
                    line=row.line,
                )
        if answers.errors and not self.first_fault:
            self.first_fault = answers.errors[min(answers.errors)].message
        good = [place for place in range(len(answers.rows)) if place not in answers.errors]
        if good:
            self.truth += [answers.rows[place].label for place in good]
            self.parts.append(answers.outputs[self.scores.name][good])

    def report(self) -> ClassificationReport:
        """The measures.

        Raises:
            OperatorError: No row has an answer, or the scores are no distribution.
        """
        if not self.truth:
            why = f"; the first failed: {self.first_fault}" if self.first_fault else ""
            raise OperatorError(f"no row has an answer, so there is nothing to measure{why}")
        try:
            return evaluate_classification(
                self.scores.labels, self.truth, np.concatenate(self.parts).astype(np.float64)
            )
        except ValueError as error:
            raise OperatorError(f"output {self.scores.name!r}: {error}") from None


def _unreadable(answers: Answers, place: int) -> bool:
    """Whether the row never came to have a label."""
    return answers.rows[place].error is not None


class PredictionWriter:
    """Writes, for each row, its line, the true label and the answer.

    Args:
        file: Where they go.
        format: jsonl, csv or tsv.
        signature: The model's.
    """

    def __init__(self, file: BinaryIO, format: Format, signature: Signature) -> None:
        self._writer = RowWriter(file, format, signature, before=("line", "truth"))

    def write(self, answers: Answers, documents: list[dict[str, Any]]) -> None:
        """Write what became of *answers*, whose *documents* are the API's."""
        self._writer.write(
            [
                {"line": row.line, "truth": row.label, **document}
                for row, document in zip(answers.rows, documents, strict=True)
            ]
        )
