"""A real HTTP server that speaks X's API v2, its errors, its rate limit and its bad days.

What it does follows from the id that is asked for; a search finds the tweets of ``x_corpus``, and its
bad days are the server's attributes.  Bytes are written by hand, because half of what
is tested (resets, lying lengths, silence) no HTTP library will do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.services.tweets import x_corpus

TOKEN = "AAAA-good-token"

OK = 1050118621198921728
LONG = 1050118621198921729
ESCAPED = 1050118621198921730
NO_AUTHOR = 1050118621198921731
DELETED = 404
PROTECTED = 403
SUSPENDED = 410
BAD_ID = 400
LIMITED_BRIEFLY = 4290
LIMITED_LONG = 4291
USAGE_CAPPED = 4292
LAST_OF_WINDOW = 4293
NO_CREDITS = 402
FORBIDDEN_APP = 4030
FLAKY = 503
DOWN = 500
HANGS = 1
HANGS_IN_BODY = 2
TRUNCATED_JSON = 3
SHORT_BODY = 4
OVERSIZE = 5
RESETS = 6
RESETS_ONCE = 7
NO_JSON = 8
REDIRECTS = 9

SEARCH = "/2/tweets/search/recent"
SEARCHES_A_WINDOW = 450

_PROBLEMS = "https://api.twitter.com/2/problems/"
_TOKEN = "b26v89c19zqg8o3f"


@dataclass
class Asked:
    """One request as it arrived."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    connection: int


@dataclass
class XServer:
    """Runs in a thread of its own, on a free port, until closed.

    Args:
        reset_in_s: How long its rate limits last.
        found: Tweets of the corpus that a search finds.
        overlap: Tweets of the page before that a page repeats, as when new ones came meanwhile.
        search_left: Searches until the rate limit is reached; ``None``: no limit.
        search_faults: What the next searches are answered with, one each.
    """

    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    reset_in_s: float = 1.0
    url: str = ""
    found: int = 250
    overlap: int = 0
    search_left: int | None = None
    search_faults: list[tuple[int, Any]] = field(default_factory=list)
    _search_reset_s: float = 0.0

    def count(self, tweet_id: int) -> int:
        return sum(asked.path == f"/2/tweets/{tweet_id}" for asked in self.asked)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while await self._answer(await self._read(reader, number), writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has what it wanted
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _read(self, reader: asyncio.StreamReader, connection: int) -> Asked:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines if line)
        target = urlsplit(first.split()[1])
        asked = Asked(
            target.path,
            parse_qs(target.query),
            {name.lower(): value for name, value in headers.items()},
            connection,
        )
        self.asked.append(asked)
        return asked

    async def _answer(self, asked: Asked, writer: asyncio.StreamWriter) -> bool:
        """Answer; whether the connection is still good."""
        searching = asked.path == SEARCH
        tweet_id = 0 if searching else int(asked.path.rpartition("/")[2])
        if asked.headers["authorization"] != f"Bearer {TOKEN}":
            await _send(
                writer,
                401,
                {
                    "title": "Unauthorized",
                    "type": "about:blank",
                    "status": 401,
                    "detail": "Unauthorized",
                },
            )
        elif tweet_id in (HANGS, HANGS_IN_BODY):
            if tweet_id == HANGS_IN_BODY:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
                await writer.drain()
            await asyncio.sleep(30)
        elif tweet_id == RESETS or (tweet_id == RESETS_ONCE and self.count(tweet_id) == 1):
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        elif tweet_id == SHORT_BODY:
            writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"data":')
            await writer.drain()
            return False
        elif tweet_id == OVERSIZE:
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(1000):
                writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
                await writer.drain()
            return False
        else:
            status, body, headers = self._search(asked) if searching else self._say(tweet_id)
            await _send(writer, status, body, headers)
        return True

    def _say(self, tweet_id: int) -> tuple[int, Any, dict[str, str]]:
        reset = {"x-rate-limit-reset": str(int(time.time() + self.reset_in_s + 0.999))}
        again = self.count(tweet_id) > 1
        plain: dict[int, tuple[int, Any]] = {
            DELETED: (200, _fault(tweet_id, "resource-not-found", "Not Found Error")),
            PROTECTED: (
                200,
                _fault(tweet_id, "not-authorized-for-resource", "Authorization Error"),
            ),
            SUSPENDED: (
                200,
                _fault(
                    tweet_id, "resource-not-found", "Forbidden", "User has been suspended: [1]."
                ),
            ),
            BAD_ID: (
                400,
                {
                    "errors": [
                        {
                            "parameters": {"id": [str(tweet_id)]},
                            "message": f"The `id` query parameter value [{tweet_id}] is not valid",
                        }
                    ],
                    "title": "Invalid Request",
                    "detail": "One or more parameters to your request was invalid.",
                    "type": f"{_PROBLEMS}invalid-request",
                },
            ),
            NO_CREDITS: (402, {"title": "CreditsDepleted", "type": f"{_PROBLEMS}credits"}),
            FORBIDDEN_APP: (
                403,
                {"title": "Client Forbidden", "type": f"{_PROBLEMS}client-forbidden"},
            ),
            DOWN: (500, b"<html>oops"),
            TRUNCATED_JSON: (200, b'{"data": {"id": "3", "te'),
            NO_JSON: (200, b"<html>captive portal</html>"),
        }
        if tweet_id in plain:
            return (*plain[tweet_id], {})
        number = x_corpus.number_of(tweet_id)
        if number is not None:
            data, user = x_corpus.api_tweet(number)
            return 200, {"data": data, "includes": {"users": [user]}}, {}
        if tweet_id == REDIRECTS:
            return 302, b"", {"location": f"{self.url}/2/tweets/{OK}"}
        if tweet_id == FLAKY and not again:
            return 503, {"title": "Service Unavailable"}, {}
        if tweet_id == LIMITED_LONG or (tweet_id == LIMITED_BRIEFLY and not again):
            limited = {"title": "Too Many Requests", "type": "about:blank", "status": 429}
            return 429, limited, {"x-rate-limit-remaining": "0", **reset}
        if tweet_id == USAGE_CAPPED:
            return 429, {"title": "UsageCapExceeded", "type": f"{_PROBLEMS}usage-capped"}, {}
        if tweet_id == LAST_OF_WINDOW:
            return 200, _tweet(tweet_id), {"x-rate-limit-remaining": "0", **reset}
        return 200, _tweet(tweet_id), {}

    def _search(self, asked: Asked) -> tuple[int, Any, dict[str, str]]:
        """``GET /2/tweets/search/recent``, as X answers it."""
        if self.search_faults:
            return (*self.search_faults.pop(0), {})
        headers: dict[str, str] = {}
        if self.search_left is not None:
            now_s = time.time()
            if self.search_left <= 0 and now_s >= self._search_reset_s > 0:
                self.search_left, self._search_reset_s = SEARCHES_A_WINDOW, 0.0
            if not self._search_reset_s:
                self._search_reset_s = float(int(now_s + self.reset_in_s + 0.999))
            self.search_left -= 1
            headers = {
                "x-rate-limit-limit": str(SEARCHES_A_WINDOW),
                "x-rate-limit-remaining": str(max(0, self.search_left)),
                "x-rate-limit-reset": str(int(self._search_reset_s)),
            }
            if self.search_left < 0:
                limited = {"title": "Too Many Requests", "type": "about:blank", "status": 429}
                return 429, limited, headers
        status, body = self._find(asked.query)
        return status, body, headers

    def _find(self, query: dict[str, list[str]]) -> tuple[int, Any]:
        (text,) = query.get("query", [""])
        (size,) = query.get("max_results", ["10"])
        (token,) = query.get("next_token", [""])
        if not size.isdigit() or not 10 <= int(size) <= 100:
            fault = f"The `max_results` query parameter value [{size}] is not between 10 and 100"
            return 400, _invalid("max_results", size, fault)
        if not text or text.count("(") != text.count(")"):
            position = text.find("(") + 1
            fault = "There were errors processing your request: missing EOF at "
            return 400, _invalid("query", text, f"{fault}'(' (at position {position})")
        if token and not token.removeprefix(_TOKEN).isdigit():
            fault = f"The `next_token` query parameter value [{token}] is not valid"
            return 400, _invalid("next_token", token, fault)
        start = int(token.removeprefix(_TOKEN)) if token else 0
        count = 0 if "nothing" in text else self.found
        numbers = range(max(0, start - self.overlap), min(count, start + int(size)))[:100]
        if not numbers:
            return 200, {"meta": {"result_count": 0}}
        pairs = [x_corpus.api_tweet(number) for number in numbers]
        end = numbers[-1] + 1
        meta: dict[str, Any] = {
            "newest_id": pairs[0][0]["id"],
            "oldest_id": pairs[-1][0]["id"],
            "result_count": len(pairs),
        }
        if end < count:
            meta["next_token"] = f"{_TOKEN}{end}"
        users = {user["id"]: user for _, user in pairs}
        return 200, {
            "data": [data for data, _ in pairs],
            "includes": {"users": list(users.values())},
            "meta": meta,
        }


def _invalid(parameter: str, value: str, message: str) -> dict[str, Any]:
    return {
        "errors": [{"parameters": {parameter: [value]}, "message": message}],
        "title": "Invalid Request",
        "detail": "One or more parameters to your request was invalid.",
        "type": f"{_PROBLEMS}invalid-request",
    }


def _tweet(tweet_id: int) -> dict[str, Any]:
    data: dict[str, Any] = {
        "id": str(tweet_id),
        "text": "Good night &amp; sweet dreams" if tweet_id == ESCAPED else "Good night 😊 #sleep",
        "author_id": "2244994945",
        "created_at": "2018-10-10T20:19:24.000Z",
        "lang": "en",
        "edit_history_tweet_ids": [str(tweet_id)],
    }
    if tweet_id == LONG:
        data["note_tweet"] = {"text": "Good night " * 40}
    user = {"id": "2244994945", "username": "XDevelopers", "name": "Developers", "protected": False}
    if tweet_id == NO_AUTHOR:
        return {"data": data, "errors": [{"type": f"{_PROBLEMS}resource-not-found"}]}
    return {"data": data, "includes": {"users": [user]}}


def _fault(tweet_id: int, kind: str, title: str, detail: str = "") -> dict[str, Any]:
    return {
        "errors": [
            {
                "value": str(tweet_id),
                "detail": detail or f"Could not find tweet with id: [{tweet_id}].",
                "title": title,
                "resource_type": "tweet",
                "parameter": "id",
                "resource_id": str(tweet_id),
                "type": _PROBLEMS + kind,
            }
        ]
    }


async def _send(
    writer: asyncio.StreamWriter, status: int, body: Any, headers: dict[str, str] | None = None
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
    await writer.drain()


@contextlib.contextmanager
def running_x_server() -> Iterator[XServer]:
    """The server, listening; all its connections are gone when the block ends."""
    server = XServer()
    loop = asyncio.new_event_loop()
    listening = threading.Event()
    stop = asyncio.Event()

    async def main() -> None:
        listener = await asyncio.start_server(server._serve, "127.0.0.1", 0)
        server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        listening.set()
        await stop.wait()
        listener.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), name="x-server")
    thread.start()
    listening.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
