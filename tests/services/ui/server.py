"""The page with the tweet service behind it, in a real server on a free port."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

import uvicorn
from fastapi import FastAPI

from augury.core.clock import SystemClock
from augury.core.request import InferRequest, InferResponse
from augury.edge import errors
from augury.services.tweets.api.routes import router as tweets_router
from augury.services.tweets.ledger import ledger_over
from augury.services.tweets.model import Tweet
from augury.services.tweets.service import TweetService
from augury.services.tweets.sources.archive import ArchiveSource, import_tweets
from augury.services.tweets.sources.chain import ChainSource, XWithoutToken
from augury.services.ui.routes import router as ui_router
from augury.stores.memory import MemoryStore
from tests.services.tweets.conftest import LexiconPredictor

XSS = '<img src=x onerror="document.title=1"><script>document.title=2</script> good'
TWEET_ID = 1050118621198921728
NASTY_ID = 1050118621198921729


class SlowPredictor(LexiconPredictor):
    """Takes its time over texts that ask for it."""

    async def infer(self, request: InferRequest) -> InferResponse:
        if request.inputs["text"][0].startswith(b"slowly"):
            await asyncio.sleep(0.6)
        return await super().infer(request)


def make_app() -> FastAPI:
    """The application; its archive holds one ordinary tweet and one that attacks the page."""
    store = MemoryStore(clock=SystemClock())
    tweets = [
        Tweet(
            id=TWEET_ID,
            text="Good night, sweet dreams",
            author_id=2244994945,
            username="XDevelopers",
            author_name="Developers",
            created_at=datetime(2018, 10, 10, 20, 19, 24, tzinfo=UTC),
        ),
        Tweet(id=NASTY_ID, text=XSS, author_id=1, username="<b>x</b>", author_name=XSS),
    ]
    asyncio.run(import_tweets(tweets, store))
    source = ChainSource([ArchiveSource(store), XWithoutToken()])
    service = TweetService(SlowPredictor(), source, ledger_over(store, SystemClock()))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service:
            yield

    app = FastAPI(lifespan=lifespan)
    errors.install(app)
    app.include_router(tweets_router(service))
    app.include_router(ui_router())
    return app


@contextmanager
def running_server() -> Iterator[str]:
    """The server's URL; it is stopped when the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(make_app(), log_level="warning", ws="none", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="ui-server")
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
