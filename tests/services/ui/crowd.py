"""A month of a town's tweets on harmless things, by accounts that are not there, always the same, for tests and pictures."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from augury.services.tweets.model import Tweet

FIRST_ID = 1_900_000_000_000_000_000
FIRST_AUTHOR_ID = 2_244_000_000

HANDLES = (
    *("old_mill_bakery", "tide_and_trail", "ferry_watch", "harbour_books", "slow_commute"),
    *("bramble_garden", "kettle_and_co", "north_platform", "pixel_otter", "oat_milk_moth"),
    *("sunday_cello", "maple_and_rye", "quiet_library", "harbour_lights", "tiny_telescope"),
    *("cargo_bike_club", "fern_and_frost", "lantern_hill", "third_shelf", "raincoat_weather"),
    *("moss_and_stone", "late_bus_club", "paper_kites", "salty_sea", "beetroot_farm"),
    *("clock_mending", "driftwood_den", "east_pier", "foggy_mornings", "gingerbread_house"),
    *("hilltop_walks", "ink_and_ivy", "jam_kitchen", "knitting_circle", "lemon_grove"),
    *("mildly_orange", "night_market", "opal_and_oak", "plum_pudding", "quayside_news"),
)

# Topic to what people say of it: gladly, plainly, and not gladly.
SAYINGS = {
    "#coffee": (
        ("Best flat white of the year this morning", "This new roast is wonderful, well done"),
        ("The café opens at nine from Monday", "Switching to decaf after lunch"),
        ("Waited forty minutes and the coffee was cold", "The new blend tastes awful"),
    ),
    "#commute": (
        ("Train on time and a window seat, lovely start", "Friendly driver waited for me, thank you"),
        ("The 8:15 leaves from platform 2 today", "New timetable starts next week"),
        ("Third delay this week, so tired of this", "Stuck between stations again, terrible"),
    ),
    "#gardening": (
        ("First tomatoes of the season and they are perfect", "So happy with how the roses turned out"),
        ("Planting the garlic on Saturday", "Compost gets turned once a month here"),
        ("Slugs ate every single lettuce, I am sad", "Frost killed the seedlings, what a waste"),
    ),
    "#books": (
        ("Could not put it down, what a beautiful story", "My favourite novel in years, I love it"),
        ("Halfway through chapter twelve", "The library extends its hours on Thursdays"),
        ("Gave up on page fifty, so boring", "Worst ending I have read in ages"),
    ),
    "#astronomy": (
        ("Saw the rings of Saturn tonight, amazing", "Clear skies and a great crowd at the observatory"),
        ("The meteor shower peaks on Thursday", "New moon this weekend"),
        ("Clouds again, so disappointed", "The tripod broke, what a miserable night"),
    ),
    "#baking": (
        ("The sourdough finally worked, I am so proud", "Delicious cinnamon buns, thank you grandma"),
        ("Proving the dough overnight", "Flour is on the second shelf"),
        ("Burnt the whole tray, I hate this oven", "The cake collapsed, terrible evening"),
    ),
    "#seaside": (
        ("Warm sun and calm water, perfect day", "The children loved the beach today"),
        ("High tide is at four this afternoon", "The ferry runs every hour"),
        ("Rubbish all over the beach, disgusting", "The ferry was cancelled, angry queue"),
    ),
    "#newphone": (
        ("The camera is brilliant, so glad I bought it", "Fast, light, and the battery lasts, great"),
        ("The update is two gigabytes", "Comes in grey and green"),
        ("Screen cracked on day two, awful quality", "The update broke everything, useless"),
    ),
}  # fmt: skip
ENDS = ("", "", "", " 😊", " ☕", ".", "!", " today", " again", " with friends")


def tweets(
    count: int = 2000, *, last: datetime | None = None, days: int = 30, seed: int = 7
) -> Iterator[Tweet]:
    """*count* tweets of 40 authors, the busy ones far busier, in the order of time.

    Args:
        count: How many.
        last: When the last one was written; the others spread over *days* before it.
        days: See there.
        seed: Another seed is another month.
    """
    chance = random.Random(seed)
    last = last or datetime(2026, 3, 31, 20, tzinfo=UTC)
    moments = sorted(chance.random() ** 0.85 for _ in range(count))
    weights = [1 / (place + 2.5) for place in range(len(HANDLES))]
    # Some are gladder than others.
    moods = {handle: chance.betavariate(3, 2.2) for handle in HANDLES}
    for number, moment in enumerate(moments):
        author = chance.choices(range(len(HANDLES)), weights)[0]
        at = last - timedelta(days=days * (1 - moment))
        at = at.replace(hour=min(23, int(chance.triangular(6, 23.9, 18))), microsecond=0)
        while at > last:  # nobody has written the evening's tweets in the morning
            at -= timedelta(hours=chance.randint(1, 9), minutes=chance.randrange(60))
        topic = _topic(chance, author, moment)
        mood = chance.random()
        glad = moods[HANDLES[author]] * (0.35 if topic == "#commute" else 1.0)
        said = chance.choice(
            SAYINGS[topic][0 if mood < glad * 0.75 else 1 if mood < glad * 0.75 + 0.28 else 2]
        )
        yield Tweet(
            id=FIRST_ID + number,
            text=f"{said}{chance.choice(ENDS)} {topic}",
            author_id=FIRST_AUTHOR_ID + author,
            username=HANDLES[author],
            author_name=HANDLES[author].replace("_", " ").title(),
            created_at=at,
        )


def _topic(chance: random.Random, author: int, moment: float) -> str:
    names = list(SAYINGS)
    if moment > 0.9 and chance.random() < 0.35:
        return "#newphone"  # what rises in the last days
    favourite = names[author % (len(names) - 1)]
    return favourite if chance.random() < 0.4 else chance.choice(names[:-1])


def write_lines(file: Path, some: Iterator[Tweet]) -> None:
    """*some* as the JSON lines that ``augury tweets`` reads."""
    with file.open("w", encoding="utf-8") as lines:
        for tweet in some:
            row = {
                "id": str(tweet.id),
                "text": tweet.text,
                "author_id": str(tweet.author_id),
                "username": tweet.username,
                "author_name": tweet.author_name,
                "created_at": tweet.created_at.isoformat() if tweet.created_at else None,
            }
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
