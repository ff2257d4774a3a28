"""The seed's design: FastAPI, a TorchScript model in the app's context, one forward for each request.

From "Machine-learning inference on Industry-standard" (2023): the model is read once by ``torch.jit.load``, kept
beside the tokenizer in ``app.model_params``, and a synchronous ``prediction`` is called in an ``async def``
route.  Tweet lookup and Redis are left out: a text comes in, its sentiment goes out.  A single text needs no
padding, and gets none.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import uvicorn
from classifier import read_work
from fastapi import FastAPI, Request
from pydantic import BaseModel
from tokenizers import Tokenizer

WORK = read_work()
torch.set_num_threads(int(os.environ["PEER_THREADS"]))


class TextRequest(BaseModel):
    """What is asked."""

    text: str


class SentimentResponse(BaseModel):
    """What is answered."""

    label: str
    scores: list[float]


class NumbersRequest(BaseModel):
    """Four numbers, which come back."""

    x: list[float]


class TwitterSentiment:
    """One request's prediction, as the seed makes it."""

    def __init__(self, model: torch.jit.ScriptModule, tokenizer: Tokenizer) -> None:
        self.model = model
        self.tokenizer = tokenizer

    def prediction(self, text: str) -> SentimentResponse:
        """The sentiment of *text*; blocks until it is computed."""
        encoding = self.tokenizer.encode(text)
        with torch.no_grad():
            logits = self.model(
                torch.tensor([encoding.ids]), torch.tensor([encoding.attention_mask])
            )
        scores = torch.softmax(logits, dim=-1)[0].tolist()
        return SentimentResponse(label=WORK["labels"][scores.index(max(scores))], scores=scores)


def get_tokenizer() -> Tokenizer | None:
    """The tokenizer of the work; the identity model has none."""
    if WORK["kind"] == "identity":
        return None
    tokenizer = Tokenizer.from_file(WORK["tokenizer"])
    tokenizer.enable_truncation(WORK["max_tokens"])
    return tokenizer


app = FastAPI()
model_params: dict[str, Any] = {
    "model": torch.jit.load(WORK["torchscript"]).eval(),
    "tokenizer": get_tokenizer(),
}
app.model_params = model_params  # type: ignore[attr-defined]


@app.get("/health")
async def health() -> dict[str, bool]:
    """Tell that it is up."""
    return {"ready": True}


@app.post("/inference", response_model=SentimentResponse)
async def inference(request: Request, body: TextRequest) -> SentimentResponse:
    """Answer one text; the loop waits meanwhile, as in the seed."""
    return TwitterSentiment(**request.app.model_params).prediction(body.text)


@app.post("/identity")
async def identity(request: Request, body: NumbersRequest) -> dict[str, list[float]]:
    """Answer the numbers."""
    with torch.no_grad():
        return {"y": request.app.model_params["model"](torch.tensor([body.x]))[0].tolist()}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PEER_PORT"]), log_level="warning", access_log=False)
