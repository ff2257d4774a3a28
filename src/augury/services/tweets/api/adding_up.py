"""Ask what the predictions add up to: of all tweets, of an author, on a topic; lists of each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Query

from augury.core.errors import InvalidInput, NotFound
from augury.services.tweets.aggregates import Bucket, KindOrAll
from augury.services.tweets.api.responses import (
    AGGREGATE,
    AUTHOR,
    NO_CREDENTIALS,
    STORE_DOWN,
    SUMMARY,
    TWEET,
    Responses,
    When,
    ok,
    page,
    problems,
    scope_missing,
)
from augury.services.tweets.api.schemas import (
    AllSentiment,
    AuthorList,
    AuthorSentiment,
    TopicList,
    TopicSentiment,
    TweetList,
    aggregate_fields,
    topic_list,
)
from augury.services.tweets.ledger import tables
from augury.services.tweets.records import in_utc
from augury.services.tweets.rising import Window, rising_topics
from augury.services.tweets.service import TweetService
from augury.services.tweets.topics import parse_topic
from augury.services.tweets.urls import shown

MAX_LIMIT: Final = 100
# Far beyond what anybody pages to, and small enough for every store.
MAX_OFFSET: Final = 2**31 - 1

_LISTED_TWEET: Final = {**TWEET, "predictedAt": "2018-10-10T20:21:03Z"}
_BAD_PAGE: Final[When] = (InvalidInput, f"offset or limit (1 to {MAX_LIMIT}) is none")
_BAD_BUCKET: Final[When] = (InvalidInput, "bucket is not hour, day or week")
_BAD_TOPIC: Final[When] = (InvalidInput, "word could not be a topic")
_NO_AUTHOR: Final[When] = (NotFound, "nothing is held of this author")
_NO_TOPIC: Final[When] = (NotFound, "nothing is held on this topic")

BucketQuery = Annotated[Bucket, Query(description="Length of a stretch of time, in UTC")]
OffsetQuery = Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Rows to pass over")]
LimitQuery = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows to tell")]
AuthorPath = Annotated[
    str, Path(description="X's id of the author, or @username", examples=["@XDevelopers"])
]
TopicPath = Annotated[
    str,
    Path(
        description="A word, #hashtag or $cashtag (# is written %23 in a URL); "
        "without a sign, tweets that merely speak of it count too",
        examples=["#bitcoin"],
    ),
]


def _problems(*whens: When) -> Responses:
    return problems(*whens, NO_CREDENTIALS, scope_missing("read"), STORE_DOWN)


def add(routes: APIRouter, service: TweetService) -> None:
    """Add the routes to *routes*."""
    aggregates = service.aggregates

    async def author_id_of(author: str) -> int:
        author_id = await aggregates.find_author(author)
        if author_id is None:
            raise _nothing_of(author)
        return author_id

    @routes.get(
        "/authors",
        summary="The most active authors",
        response_description="Authors with their tweets added up, those with the most first",
        responses={
            **page(
                "authors",
                {
                    **AUTHOR,
                    **SUMMARY,
                    "firstAt": AGGREGATE["firstAt"],
                    "lastAt": AGGREGATE["lastAt"],
                },
            ),
            **_problems(_BAD_PAGE),
        },
    )
    async def authors(
        order: Annotated[
            Literal["active"], Query(description="active: by number of tweets held")
        ] = "active",
        offset: OffsetQuery = 0,
        limit: LimitQuery = 20,
    ) -> AuthorList:
        """List the authors of whose tweets predictions are held, with what they add up to.

        `next` is the offset of the next page, null on the last. Names are those of the author's
        latest tweet.
        """
        del order  # there is one as yet
        return AuthorList.of(await aggregates.authors(offset=offset, limit=limit))

    @routes.get(
        "/authors/{id}/sentiment",
        summary="The sentiment of an author's tweets",
        response_description="Counts, shares and mean scores, in all and over time",
        responses={
            **ok({"authorId": AUTHOR["id"], **AGGREGATE}),
            **_problems(_BAD_BUCKET, _NO_AUTHOR),
        },
    )
    async def author_sentiment(id: AuthorPath, bucket: BucketQuery = "day") -> AuthorSentiment:
        """Add up the predictions that are held of one author's tweets, by the tweets' time."""
        author_id = await author_id_of(id)
        tally = await aggregates.tally(tables.author_entity(author_id), bucket)
        if not tally.all.total:
            raise _nothing_of(id)
        return AuthorSentiment(author_id=str(author_id), **aggregate_fields(tally))

    @routes.get(
        "/authors/{id}/tweets",
        summary="The predictions of an author's tweets",
        response_description="Predictions, those of the latest tweets first",
        responses={**page("tweets", _LISTED_TWEET), **_problems(_BAD_PAGE, _NO_AUTHOR)},
    )
    async def author_tweets(
        id: AuthorPath, offset: OffsetQuery = 0, limit: LimitQuery = 20
    ) -> TweetList:
        """List one author's tweets with their predictions, those written last first.

        Tweets of unknown time stand at the end.
        """
        entity = tables.author_entity(await author_id_of(id))
        found = await aggregates.tweets(entity, offset=offset, limit=limit)
        if not found.total:
            raise _nothing_of(id)
        return TweetList.of(found)

    @routes.get(
        "/topics",
        summary="The topics most spoken of, or rising",
        response_description="Topics with their tweets added up",
        responses={
            **page(
                "topics",
                {
                    "topic": "#bitcoin",
                    "kind": "hashtag",
                    **SUMMARY,
                    "recent": 9,
                    "expected": 3.0,
                    "score": 3.0,
                },
                windowStart="2018-10-10T00:00:00Z",
                windowEnd="2018-10-11T00:00:00Z",
            ),
            **_problems(_BAD_PAGE, (InvalidInput, "order, kind, window or at is none")),
        },
    )
    async def topics(
        *,
        order: Annotated[
            Literal["active", "rising"],
            Query(description="active: by number of tweets held; rising: by the excess of late"),
        ] = "active",
        kind: Annotated[KindOrAll, Query(description="Which topics")] = "all",
        window: Annotated[
            Window,
            Query(description="For rising: a day of UTC, or the seven days that end with it"),
        ] = "day",
        at: Annotated[
            datetime | None,
            Query(
                description="For rising: the window ends with this day, today at the latest; "
                "without it, today, or the latest day that has tweets",
                examples=["2018-10-10T20:19:24Z"],
            ),
        ] = None,
        offset: OffsetQuery = 0,
        limit: LimitQuery = 20,
    ) -> TopicList:
        """List hashtags, cashtags and words, with what the tweets on them add up to.

        A topic rises when a window has more tweets on it (`recent`) than its earlier windows let
        expect (`expected`: the mean of the seven days, or four weeks, before); `score` is the excess
        in standard deviations, (recent - expected) / √(expected + 1). Less than 3 tweets are chance.
        The other numbers are of all tweets that are held; with `active`, those of the window are null.
        """
        at_utc = in_utc(at)
        if at is not None and at_utc is None:
            raise InvalidInput(
                f"at is {at.isoformat()}, which in UTC lies outside the years 1 to 9999; send a time "
                "within them, like 2018-10-10T20:19:24Z"
            )
        if order == "active":
            return topic_list(await aggregates.topics(kind, offset=offset, limit=limit))
        return topic_list(
            await rising_topics(
                aggregates,
                window=window,
                kind=kind,
                now=datetime.fromtimestamp(service.clock.time(), UTC),
                at=at_utc,
                offset=offset,
                limit=limit,
            )
        )

    @routes.get(
        "/topics/{word}/sentiment",
        summary="The sentiment of the tweets on a topic",
        response_description="Counts, shares and mean scores, in all and over time",
        responses={
            **ok({"topic": "#bitcoin", **AGGREGATE}),
            **_problems(_BAD_TOPIC, _BAD_BUCKET, _NO_TOPIC),
        },
    )
    async def topic_sentiment(word: TopicPath, bucket: BucketQuery = "day") -> TopicSentiment:
        """Add up the predictions that are held of the tweets on one topic, by the tweets' time."""
        topic = parse_topic(word)
        tally = await aggregates.tally(tables.topic_entity(topic), bucket)
        if not tally.all.total:
            raise _nothing_on(topic)
        return TopicSentiment(topic=topic, **aggregate_fields(tally))

    @routes.get(
        "/topics/{word}/tweets",
        summary="The predictions of the tweets on a topic",
        response_description="Predictions, those of the latest tweets first",
        responses={
            **page("tweets", _LISTED_TWEET),
            **_problems(_BAD_TOPIC, _BAD_PAGE, _NO_TOPIC),
        },
    )
    async def topic_tweets(
        word: TopicPath, offset: OffsetQuery = 0, limit: LimitQuery = 20
    ) -> TweetList:
        """List the tweets on one topic with their predictions, those written last first.

        Tweets of unknown time stand at the end.
        """
        topic = parse_topic(word)
        found = await aggregates.tweets(tables.topic_entity(topic), offset=offset, limit=limit)
        if not found.total:
            raise _nothing_on(topic)
        return TweetList.of(found)

    @routes.get(
        "/tweets",
        summary="Recent predictions",
        response_description="Predictions, those made last first",
        responses={**page("tweets", _LISTED_TWEET), **_problems(_BAD_PAGE)},
    )
    async def tweets(offset: OffsetQuery = 0, limit: LimitQuery = 20) -> TweetList:
        """List the tweets that were asked for, with their predictions, those made last first."""
        return TweetList.of(await aggregates.recent(offset=offset, limit=limit))

    @routes.get(
        "/tweets/sentiment",
        summary="The sentiment of all tweets",
        response_description="Counts, shares and mean scores, in all and over time",
        responses={**ok(AGGREGATE), **_problems(_BAD_BUCKET)},
    )
    async def tweets_sentiment(bucket: BucketQuery = "day") -> AllSentiment:
        """Add up all predictions that are held, by the tweets' time; zeros when there are none."""
        return AllSentiment(**aggregate_fields(await aggregates.tally(tables.ALL_TWEETS, bucket)))


def _nothing_of(author: str) -> NotFound:
    return NotFound(
        f"no prediction is held for author {shown(author)}; ask /v1/inference for some of their "
        "tweets first (predictions are held for 60 days), and name authors by id or @username",
        author=shown(author),
    )


def _nothing_on(topic: str) -> NotFound:
    return NotFound(
        f"no prediction is held on the topic {topic!r}; topics are hashtags, cashtags and words "
        "of 3 letters or more of the tweets that /v1/inference was asked for in 60 days",
        topic=topic,
    )
