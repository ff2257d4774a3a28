"""Text to the token ids of a Hugging Face tokenizer file."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from tokenizers import Tokenizer

from augury.core.errors import InvalidInput, InvalidPackage
from augury.core.tensor import Array, Ragged
from augury.pipeline.transforms.base import Batch, TransformContext
from augury.pipeline.transforms.base import Options as BaseOptions

_EMPTY = np.zeros(1, dtype=np.int64)


class Tokenize:
    """Reads BYTES column ``input``, writes the ragged INT64 columns that the model wants.

    These are ``input_ids`` and, where the model has them as inputs, ``attention_mask`` and
    ``token_type_ids``; padded with the tokenizer's pad id and 0 when rows are batched.  A text of
    more than ``max_tokens`` tokens is cut, as the model was trained; ``input`` is removed.
    """

    class Options(BaseOptions):
        """Options in ``model.toml``."""

        tokenizer: str = Field("tokenizer.json", description="File beside the model's.")
        input: str = Field("text", description="The column.")
        max_tokens: int = Field(default=128, ge=2, le=65536, description="A longer text is cut.")
        pad_token: str = Field("[PAD]", description="Fills shorter rows of a batch up.")

    def __init__(self, options: Options, context: TransformContext) -> None:
        file = (context.path / options.tokenizer).resolve()
        if not file.is_relative_to(context.path.resolve()):
            raise InvalidPackage(
                f"tokenizer {options.tokenizer!r} lies outside the package", path=str(context.path)
            )
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # noqa: BLE001 - tokenizers raises bare Exception
            raise InvalidPackage(f"not a tokenizer file: {error}", path=str(file)) from None
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(options.max_tokens)
        self.max_tokens = options.max_tokens
        self._input = options.input
        self._pad = self._tokenizer.token_to_id(options.pad_token) or 0
        wanted = {spec.name for spec in context.native.inputs}
        self._mask = "attention_mask" in wanted
        self._types = "token_type_ids" in wanted

    def __call__(self, batch: Batch) -> None:
        texts: list[str] = []
        rows: list[int] = []
        column = batch.array(self._input)
        for row in batch.live_rows():
            try:
                texts.append(column[row].decode())
            except UnicodeDecodeError as error:
                batch.refuse(row, not_utf8(self._input, error))
            else:
                rows.append(row)
        if len(texts) == 1:
            encodings = [self._tokenizer.encode(texts[0])]
        else:
            encodings = self._tokenizer.encode_batch_fast(texts)
        ids: list[Array] = [_EMPTY] * batch.rows
        for row, encoding in zip(rows, encodings, strict=True):
            ids[row] = np.array(encoding.ids, dtype=np.int64)
        del batch.columns[self._input]
        batch.columns["input_ids"] = Ragged(tuple(ids), self._pad)
        if self._mask:
            batch.columns["attention_mask"] = Ragged(tuple(map(np.ones_like, ids)))
        if self._types:
            batch.columns["token_type_ids"] = Ragged(tuple(map(np.zeros_like, ids)))


def not_utf8(name: str, error: UnicodeDecodeError) -> InvalidInput:
    """Text that is none, as its sender should read it."""
    return InvalidInput(
        f"{name!r} is not valid UTF-8: {error.reason} at byte {error.start}; send text", input=name
    )
