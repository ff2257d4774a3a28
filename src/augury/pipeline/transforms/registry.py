"""The transforms that there are, and how a package's list of them is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import ValidationError

from augury.core.errors import InvalidPackage, NotFound
from augury.core.registry import Registry
from augury.packages.manifest import TransformTable
from augury.pipeline.transforms.base import Transform, TransformContext, TransformType

TRANSFORMS: Final[Registry[TransformType]] = Registry(
    kind="transform",
    group="augury.transforms",
    entries={
        "label": "augury.pipeline.transforms.label:Label",
        "softmax": "augury.pipeline.transforms.softmax:Softmax",
        "tokenize": "augury.pipeline.transforms.tokenize:Tokenize",
        "tweet-normalise": "augury.pipeline.transforms.tweet_normalise:TweetNormalise",
    },
)


def build_transforms(
    tables: Sequence[TransformTable], context: TransformContext, where: str
) -> tuple[Transform, ...]:
    """Make the steps that ``[[preprocess]]`` or ``[[postprocess]]`` lists.

    Raises:
        InvalidPackage: An unknown transform, an impossible option, a missing file.
    """
    steps = []
    for position, table in enumerate(tables):
        try:
            kind = TRANSFORMS.get(table.use)
            options = kind.Options.model_validate(table.options)
        except NotFound as error:
            raise InvalidPackage(
                error.message, path=f"{context.path}: [[{where}]] {position}"
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise InvalidPackage(
                f"{key}: {first['msg'].removeprefix('Value error, ')}",
                path=f"{context.path}: [[{where}]] {position} ({table.use})",
            ) from None
        steps.append(kind(options, context))
    return tuple(steps)
