"""Tweets as the model learned them: mentions, links, entities and emojis in plain words."""

from __future__ import annotations

from pydantic import Field

from augury.core.errors import InvalidInput, TooLarge
from augury.core.tensor import bytes_column
from augury.pipeline.transforms.base import Batch, TransformContext
from augury.pipeline.transforms.base import Options as BaseOptions
from augury.pipeline.transforms.tokenize import not_utf8
from augury.pipeline.transforms.tweet_text import normalise_tweet


class TweetNormalise:
    """Rewrites BYTES column ``input`` by :func:`normalise_tweet`.

    Refuses rows that are not UTF-8, are empty or only white space, or have more than ``max_chars``
    characters (X's own limit is 25,000).
    """

    class Options(BaseOptions):
        """Options in ``model.toml``."""

        input: str = Field("text", description="The column.")
        max_chars: int = Field(default=25_000, ge=1, description="A longer row is refused.")

    def __init__(self, options: Options, context: TransformContext) -> None:
        self._input = options.input
        self._max_chars = options.max_chars

    def __call__(self, batch: Batch) -> None:
        column = batch.array(self._input)
        texts: list[bytes] = [b""] * batch.rows
        for row in batch.live_rows():
            try:
                text = column[row].decode()
            except UnicodeDecodeError as error:
                batch.refuse(row, not_utf8(self._input, error))
                continue
            if len(text) > self._max_chars:
                batch.refuse(
                    row,
                    TooLarge(
                        f"{self._input!r} has {len(text)} characters, the limit is "
                        f"{self._max_chars}; send a shorter text",
                        characters=len(text),
                        limit=self._max_chars,
                    ),
                )
                continue
            normal = normalise_tweet(text)
            if not normal:
                batch.refuse(
                    row,
                    InvalidInput(f"{self._input!r} is empty; send some text", input=self._input),
                )
                continue
            texts[row] = normal.encode(errors="replace")
        batch.columns[self._input] = bytes_column(texts)
