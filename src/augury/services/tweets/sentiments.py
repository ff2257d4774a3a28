"""From a model's outputs to labels and scores.  Pure.

A model tells sentiment when it has the outputs ``label`` and ``scores``, and its signature names the
classes of ``scores``.
"""

from __future__ import annotations

from dataclasses import dataclass

from augury.core.errors import AuguryError, RuntimeFailed
from augury.core.request import InferResponse
from augury.core.signature import Signature


@dataclass(frozen=True, slots=True)
class Sentiment:
    """What the model makes of one text.

    Args:
        label: The class chosen.
        scores: Every class to its probability.
        cached: Whether the engine remembered it.
    """

    label: str
    scores: dict[str, float]
    cached: bool = False


def read_sentiments(response: InferResponse, signature: Signature) -> list[Sentiment | AuguryError]:
    """The rows of *response* in business terms, in their order.

    Raises:
        RuntimeFailed: The model tells no sentiment.
    """
    if len(response.errors) == response.rows:
        return [response.errors[row] for row in range(response.rows)]
    names = next((output.labels for output in signature.outputs if output.name == "scores"), ())
    labels, scores = response.outputs.get("label"), response.outputs.get("scores")
    if labels is None or scores is None or len(names) != scores.shape[-1]:
        raise RuntimeFailed(
            f"model {response.model!r} tells no sentiment: it needs the outputs 'label' and "
            "'scores', with the names of the classes as labels of 'scores'",
            model=response.model,
        )
    return [
        response.errors.get(row)
        or Sentiment(
            labels[row].decode(),
            # Six digits: more than float32 holds, and no 0.30000001192092896 on the wire.
            {name: round(p, 6) for name, p in zip(names, numbers, strict=True)},
            row in response.cached,
        )
        for row, numbers in enumerate(scores.tolist())
    ]
