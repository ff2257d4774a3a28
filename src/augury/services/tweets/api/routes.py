"""All routes of the tweet service."""

from __future__ import annotations

from fastapi import APIRouter

from augury.services.tweets.api import adding_up, erasing, judging
from augury.services.tweets.service import TweetService


def router(service: TweetService) -> APIRouter:
    """The routes of *service*."""
    routes = APIRouter(prefix="/v1", tags=["tweets"])
    for part in (judging, adding_up, erasing):
        part.add(routes, service)
    return routes
