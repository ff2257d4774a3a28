"""What the tweet model reads in place of an emoji.

A table, no code: :mod:`augury.pipeline.transforms.tweet_text` looks each
emoji up here and falls back to its Unicode name.  A gloss is written in the
words and emoticons that the training tweets (which hold no emojis) use with
the same feeling: there ``:)`` is 82 % positive, ``:(`` 67 % negative and
``lmao`` 46 % neutral.  Names such as "face with tears of joy" would mislead on
two counts.  Emojis of mixed use got words that the model reads as mixed; the
sentiment ranking of Kralj Novak et al. 2015 was the yardstick.
"""

from __future__ import annotations

from typing import Final

__all__ = ["EMOJI_GLOSSES", "FLAG_GLOSSES"]

_GLOSSED: Final[dict[str, str]] = {
    # Joy
    ":)": "😊🙂☺😌😇🤗🫠",
    ":D": "😀😃😄😁😸😺",
    "haha": "😆",
    "lmao": "😂🤣😹",
    "oh haha": "😅",
    ";)": "😉",
    "smirk": "😏",
    ":P": "😛😜😝🤪😋",
    "cool": "😎🆒🤙🤘🤠",
    "love": "😍🥰😻❤♥💕💖💗💓💞💘💝💟💜💙💚💛🧡🤍🤎🖤💌❣",
    "kiss": "😘😗😙😚💋😽",
    "wow": "🤩😲😮😯🤯",
    "yay": "🎉🎊🥳🙌",
    "happy dance": "💃🕺👯",
    "nerd": "🤓",
    "pretty please": "🥺",
    # Praise, thanks and assent
    "great": "👍",
    "well done": "👏",
    "ok good": "👌",
    "true": "💯",
    "yes": "✅✔☑",
    "pray": "🙏",
    "strong": "💪",
    "high five": "🖐✋",
    "peace": "✌☮",
    "hi": "👋",
    "fire": "🔥",
    "sparkle": "✨",
    "boom": "💥⚡",
    "star": "⭐🌟💫",
    "winner": "🏆🥇🏅👑",
    "perfect": "💎",
    "fist bump": "👊🤜🤛",
    "together": "🤝",
    "good luck": "🤞🍀",
    "raise hand": "🙋☝",
    "power": "✊",
    # Grief, fear, anger
    "tears": "😭😢😿😥😪🥲",
    ":(": "😞😔☹🙁😟😕",
    "heartbroken": "💔🥀",
    "scared": "😨😰😧😦",
    "eek": "😱🙀",
    "whoa": "😳",
    "angry": "😡😠🤬👿💢",
    "grr": "😤",
    "ugh": "🙄😒🤦😩😫😣😖😓",
    "annoyed": "😑😐",
    "dunno": "🤷🫤",
    "speechless": "😶",
    "sick": "🤢🤮🤒🤕😷🤧",
    "bad": "👎",
    "screw you": "🖕",
    "shit": "💩",
    "no": "❌🚫🙅⛔✖",
    "sleepy": "😴💤🥱🛌",
    "liar": "🤥",
    "clown": "🤡",
    "snake": "🐍",
    "trash": "🗑🚮",
    "warning": "⚠🚨",
    "bomb": "💣",
    "awkward": "😬",
    "haha dead": "💀",
    "dead": "☠⚰",
    "devil": "😈👹👺",
    # Thought, pointing, and things, mostly without feeling
    "really?": "🤔🧐🤨",
    "sarcasm": "🙃",
    "looking": "👀👁",
    "monkey": "🙈🙉🙊🐵🐒",
    "tea": "☕🍵🐸",
    "beer": "🍺🍻",
    "cheers": "🥂🍷🍾🍸🍹",
    "birthday": "🎂🍰",
    "gift": "🎁",
    "music": "🎶🎵🎧🎤🎼",
    "sun": "☀🌞🌅",
    "flower": "🌹🌸🌺🌷🌻💐🌼",
    "rainbow": "🌈",
    "football": "🏈⚽",
    "basketball": "🏀",
    "baseball": "⚾",
    "goal": "🥅",
    "money": "💰💵💸🤑💲",
    "photo": "📷📸",
    "video": "🎥📹🎬📺",
    "phone": "📱📲☎📞",
    "news": "📰🗞",
    "link": "🔗",
    "new": "🆕",
    "live": "🔴",
    "up": "📈⬆🔝",
    "down": "📉⬇",
    "here": "👇👉👈👆➡▶►⏩⬅📍📌",
    "question": "❓❔⁉",
    "!": "❗❕‼",
    "ghost": "👻🎃",
    "angel": "👼",
    "baby": "👶",
    "dog": "🐶🐕🐾",
    "cat": "🐱🐈",
    "plane": "✈🛫",
    "gun": "🔫",
    "flag": "🏁🏳🏴🚩",
    "snow": "❄☃⛄",
    "christmas": "🎄🎅",
    "recycle": "♻",
}

EMOJI_GLOSSES: Final[dict[str, str]] = {
    emoji: gloss for gloss, emojis in _GLOSSED.items() for emoji in emojis
}
"""Gloss of each emoji, keyed by its one base code point."""

FLAG_GLOSSES: Final[dict[str, str]] = {
    "us": "usa",
    "gb": "uk",
    "ca": "canada",
    "ie": "ireland",
    "fr": "france",
    "de": "germany",
    "ru": "russia",
    "mx": "mexico",
    "il": "israel",
    "in": "india",
    "cn": "china",
    "au": "australia",
}
"""Country words by ISO 3166 code; ``us`` alone would read as a pronoun."""
