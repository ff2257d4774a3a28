"""Write tweets that nobody wrote, to try Augury with: accounts of a small harbour town, and their moods.

    python examples/sample_tweets.py > tweets.jsonl
    augury tweets score tweets.jsonl

The same arguments give the same tweets.  The accounts are invented, and so is the town: the night bus
breaks down half-way through, the lantern festival is on everybody's lips towards the end.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

# X counts the milliseconds of an id from here.
X_EPOCH = datetime(2010, 11, 4, 1, 42, 54, 657000, tzinfo=UTC)

ACCOUNTS = (
    *("harbour_ferry", "night_bus_line", "north_pier_cafe", "lighthouse_radio", "tide_tables"),
    *("old_mill_bakery", "harbour_library", "salt_market", "gull_watch", "rope_walk_cinema"),
    *("dockside_gym", "city_weather", "allotment_club", "chess_on_the_quay", "sea_swimmers"),
    *("harbour_museum", "bike_kitchen", "east_dock_choir", "ferry_spotters", "market_hall_news"),
)

_GOOD = (
    *("what a lovely morning", "so happy with this", "I love it", "best day in weeks"),
    *("thank you all, wonderful", "this made my day", "fantastic work by everyone"),
)
_PLAIN = (
    *("open from nine to five", "see the timetable", "starts at eight tonight"),
    *("the next meeting is on Tuesday", "details on the notice board", "doors open at six"),
)
_BAD = (
    *("what a mess", "I hate this", "so disappointed", "nothing works again"),
    *("this is awful", "an hour of waiting in the rain", "really annoying, never again"),
)

# Topic, and how likely a tweet on it is glad, plain or cross.
_TOPICS: dict[str, tuple[float, float, float]] = {
    "#harbour": (0.5, 0.4, 0.1),
    "#ferry": (0.3, 0.5, 0.2),
    "#nightbus": (0.3, 0.5, 0.2),
    "#market": (0.5, 0.4, 0.1),
    "#coffee": (0.7, 0.2, 0.1),
    "#rain": (0.1, 0.4, 0.5),
    "#cinema": (0.5, 0.3, 0.2),
}
_FESTIVAL = "#lanterns"


def sample_tweets(
    tweets: int = 2000, accounts: int = 20, days: int = 14, until: datetime | None = None
) -> Iterator[dict[str, str]]:
    """Tweets in the order of their time.

    Args:
        tweets: How many.
        accounts: By how many accounts; some write much more than others.
        days: The stretch of time.
        until: Its end, UTC; left out: now.
    """
    chance = random.Random(20261121)  # noqa: S311 - nothing secret about it
    end = until or datetime.now(UTC)
    names = [
        ACCOUNTS[i] if i < len(ACCOUNTS) else f"{ACCOUNTS[i % len(ACCOUNTS)]}_{i}"
        for i in range(accounts)
    ]
    weights = [1 / (i + 2) ** 0.7 for i in range(accounts)]
    moments = sorted(chance.random() for _ in range(tweets))
    for number, moment in enumerate(moments):
        name = chance.choices(names, weights)[0]
        at = end - timedelta(days=days) * (1 - moment)
        # Nobody tweets at four in the morning.
        at = at.replace(hour=int(7 + 16 * chance.betavariate(2, 2))) if moment < 0.92 else at
        topic, moods = chance.choice(list(_TOPICS.items()))
        if moment > 0.85 and chance.random() < 0.35 * (moment - 0.8) / 0.2:
            topic, moods = _FESTIVAL, (0.85, 0.1, 0.05)
        elif topic == "#nightbus" and 0.45 < moment < 0.65:
            moods = (0.02, 0.13, 0.85)
        (words,) = chance.choices((_GOOD, _PLAIN, _BAD), moods)
        opening = chance.choice(("", "Well, ", "Today: ", "Honestly, ", "At the quay: "))
        # Ids carry the time of their tweet, as X's do; the low bits tell tweets of one moment apart.
        milliseconds = int((at - X_EPOCH).total_seconds() * 1000)
        yield {
            "id": str((milliseconds << 22) + number % (1 << 22)),
            "text": f"{opening}{chance.choice(words)} {topic}",
            "author_id": str(1000 + names.index(name)),
            "username": name,
            "author_name": name.replace("_", " ").title(),
            "created_at": at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }


def _main() -> None:
    parser = argparse.ArgumentParser(description="Write invented tweets as JSON lines.")
    parser.add_argument("--tweets", type=int, default=2000)
    parser.add_argument("--accounts", type=int, default=20)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--until", type=datetime.fromisoformat, help="like 2026-11-20T18:00:00Z")
    asked = parser.parse_args()
    for tweet in sample_tweets(asked.tweets, asked.accounts, asked.days, asked.until):
        sys.stdout.write(json.dumps(tweet) + "\n")


if __name__ == "__main__":
    _main()
