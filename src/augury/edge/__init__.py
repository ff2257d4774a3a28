"""The server's outer face: socket, limits, routing between plain ASGI and FastAPI, drain."""
