"""Which columns of a file are a model's inputs."""

from __future__ import annotations

from augury.app.local.rows import Column, Format, Layout, WrongColumns
from augury.core.signature import Signature, TensorSpec


def text_input(signature: Signature) -> TensorSpec | None:
    """The model's only input, if it is one text a row."""
    first = signature.inputs[0] if len(signature.inputs) == 1 else None
    return first if first is not None and first.datatype == "BYTES" and not first.shape else None


def layout_for(
    signature: Signature, format: Format, text_column: str | None, label_column: str | None = None
) -> Layout:
    """Where the inputs of *signature* stand in a file of *format*.

    Args:
        signature: The model's.
        format: The file's.
        text_column: Column of the only input, a text; ``None``: columns have the inputs' names.
        label_column: Column of the true label; ``None``: it is not read, and a JSON object must
            hold the inputs and nothing else, as in the native API.

    Raises:
        WrongColumns: The model has no single text input, or the format no columns.
    """
    text = text_input(signature)
    names = ", ".join(spec.name for spec in signature.inputs)
    if text is None and (text_column is not None or format == "txt"):
        raise WrongColumns(
            f"the model's inputs are not a single text but: {names}; give columns (or members) of "
            "these names"
        )
    if format == "txt" and (text_column is not None or label_column is not None):
        raise WrongColumns("a txt file has no columns, each line is a text")
    inputs: dict[str, Column] = {spec.name: spec.name for spec in signature.inputs}
    if text is not None and text_column is not None:
        inputs = {text.name: parse_column(text_column)}
    elif format == "jsonl" and label_column is None:
        inputs = {}
    return Layout(
        inputs,
        texts=frozenset(
            spec.name for spec in signature.inputs if spec.datatype == "BYTES" and not spec.shape
        ),
        label=None if label_column is None else parse_column(label_column),
    )


def parse_column(text: str) -> Column:
    """A column as a person gives it: a number, counted from 1, or a name.

    Raises:
        WrongColumns: Column 0.

    >>> parse_column("2"), parse_column("tweet")
    (2, 'tweet')
    """
    if not text.isdecimal():
        return text
    if int(text) < 1:
        raise WrongColumns(f"column {text}: columns are counted from 1")
    return int(text)
