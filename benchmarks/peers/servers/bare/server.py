"""Nothing but HTTP: reads a JSON body and answers it, on the uvicorn and with the settings that Augury uses."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import uvicorn


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Echo the numbers."""
    message = await receive()
    body = msgspec.json.encode({"y": msgspec.json.decode(message["body"])["x"]})
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(
        app, port=int(os.environ["PEER_PORT"]), log_config=None, access_log=False, lifespan="off",
        http="httptools", server_header=False, date_header=False, proxy_headers=False,
    )  # fmt: skip
