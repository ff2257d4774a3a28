from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from augury.core.errors import OperatorError
from augury.services.tweets.model import Tweet
from augury.services.tweets.sources.archive_files import (
    MAX_LINE_BYTES,
    ArchiveFault,
    count_lines,
    read_archive,
    read_entries,
)

ID = 1050118621198921728
AT = datetime(2018, 10, 10, 20, 19, 24, tzinfo=UTC)

TWEETS_JS = (
    "window.YTD.tweets.part0 = [\n  {\n"
    + json.dumps(
        {
            "tweet": {
                "id": str(ID),
                "id_str": str(ID),
                "full_text": "Salt &amp; pepper 😊",
                "created_at": "Wed Oct 10 20:19:24 +0000 2018",
                "lang": "en",
                "retweet_count": "0",
            }
        },
        indent=2,
    )[1:-1]
    + '  },\n  {"tweet": {"full_text": "no id"}},\n  {"tweet": {"id_str": "21", "full_text": "b"}}\n]'
)
ACCOUNT_JS = "window.YTD.account.part0 = " + json.dumps(
    [
        {
            "account": {
                "email": "a@example.org",
                "username": "ada",
                "accountId": "42",
                "accountDisplayName": "Ada L.",
            }
        }
    ],
    indent=2,
)


def read(path: Path, **options: Any) -> list[Tweet | ArchiveFault]:
    return list(read_archive(path, **options))


def lines(tmp_path: Path, *entries: Any) -> list[Tweet | ArchiveFault]:
    file = tmp_path / "tweets.jsonl"
    file.write_bytes(
        b"\n".join(
            entry if isinstance(entry, bytes) else json.dumps(entry).encode() for entry in entries
        )
    )
    return read(file)


def check_archive(entries: list[Tweet | ArchiveFault], file: str) -> None:
    ada: dict[str, Any] = {"author_id": 42, "username": "ada", "author_name": "Ada L."}
    assert entries == [
        Tweet(id=ID, text="Salt & pepper 😊", created_at=AT, lang="en", **ada),
        ArchiveFault(file, 13, "no id; looked for id, id_str, tweet_id"),
        Tweet(id=21, text="b", **ada),
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tweets.js").write_text(TWEETS_JS, encoding="utf-8")
    (tmp_path / "data" / "account.js").write_text(ACCOUNT_JS, encoding="utf-8")
    (tmp_path / "data" / "like.js").write_text("window.YTD.like.part0 = []", encoding="utf-8")
    return tmp_path


def test_tweets_js(folder: Path) -> None:
    """X's own file is read, with the account beside it; faults have lines."""
    check_archive(read(folder / "data" / "tweets.js"), "tweets.js")


def test_the_folder(folder: Path) -> None:
    """The unpacked archive is found its way through."""
    check_archive(read(folder), "tweets.js")


def test_the_parts_of_a_large_archive(folder: Path) -> None:
    """X splits large archives."""
    part = 'window.YTD.tweets.part1 = [{"tweet": {"id_str": "22", "full_text": "c"}}]'
    (folder / "data" / "tweets-part1.js").write_text(part, encoding="utf-8")
    ids = {entry.id for entry in read(folder) if isinstance(entry, Tweet)}
    assert ids == {ID, 21, 22}


def pack(folder: Path, *, prefix: str = "") -> Path:
    path = folder / "archive.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (folder / "data").iterdir():
            archive.write(file, f"{prefix}data/{file.name}")
    return path


@pytest.mark.parametrize("prefix", ["", "twitter-2026-11-21/"])
def test_the_zip(folder: Path, prefix: str) -> None:
    """The archive as it was downloaded, without unpacking."""
    check_archive(read(pack(folder, prefix=prefix)), f"{prefix}data/tweets.js")


def test_without_account_the_author_is_unknown(tmp_path: Path) -> None:
    """No author is invented."""
    (tmp_path / "tweets.js").write_text(TWEETS_JS, encoding="utf-8")
    first = read(tmp_path / "tweets.js")[0]
    assert isinstance(first, Tweet)
    assert (first.author_id, first.username) == (None, None)


@pytest.mark.parametrize(
    "content", [b"nonsense", b"", b"[]", b'[{"account": {"accountId": 1}}]', b"\xff"]
)
def test_an_account_that_is_none_is_passed_over(folder: Path, content: bytes) -> None:
    """A strange account.js does not cost the tweets."""
    (folder / "data" / "account.js").write_bytes(content)
    assert isinstance(read(folder)[0], Tweet)


def test_a_file_over_the_limit(folder: Path) -> None:
    """What must be decoded as a whole has a limit, packed or not."""
    for path in (folder, folder / "data" / "tweets.js", pack(folder)):
        with pytest.raises(OperatorError, match="over 100 bytes"):
            read(path, max_file_bytes=100)


def test_a_zip_that_is_a_bomb(tmp_path: Path) -> None:
    """A megabyte that unpacks to a gigabyte is left at the limit."""
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/tweets.js", b"window.YTD.tweets.part0 = [" + b" " * 50_000_000)
    with pytest.raises(OperatorError, match="over 1000000 bytes"):
        read(tmp_path / "bomb.zip", max_file_bytes=1_000_000)


def test_a_truncated_array_is_one_fault(folder: Path) -> None:
    """A download that broke off is told, with its line."""
    path = folder / "data" / "tweets.js"
    path.write_text(TWEETS_JS[:-20], encoding="utf-8")
    (fault,) = read(path)
    assert isinstance(fault, ArchiveFault)
    assert fault.line >= 13
    assert "no JSON array" in fault.message


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, "no such file"),
        (lambda p: p.write_text("id,text\n1,hello"), "neither a tweets.js"),
        (lambda p: p.write_bytes(b"PK\x03\x04 and nothing"), "neither a tweets.js"),
        (lambda p: p.mkdir(), "holds no tweets.js"),
        (lambda p: p.write_bytes(b"\x00\x01\x02"), "neither a tweets.js"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, make: Any, words: str) -> None:
    """A person learns what is taken."""
    make(tmp_path / "file")
    with pytest.raises(OperatorError, match=words):
        read(tmp_path / "file")


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    """A .zip without tweets says so."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(OperatorError, match=r"holds no tweets\.js"):
        read(tmp_path / "a.zip")


def test_an_empty_file_has_no_tweets(tmp_path: Path) -> None:
    """Nothing is nothing, not a fault."""
    (tmp_path / "a.jsonl").write_bytes(b"\n\n")
    assert read(tmp_path / "a.jsonl") == []


def test_jsonl(tmp_path: Path) -> None:
    """One object on a line, in any of the spellings in which tweets are kept."""
    ada: dict[str, Any] = {"author_id": 42, "username": "ada", "author_name": "Ada"}
    entries = lines(
        tmp_path,
        {"id": 1, "text": "a", "author_id": 42, "username": "@ada", "author_name": "Ada"},
        {"id": "2", "text": "b", "author_id": "42", "created_at": "2018-10-10T20:19:24.000Z"},
        {
            "id": 3,
            "id_str": "3",
            "full_text": "c &lt;3",
            "created_at": "Wed Oct 10 22:19:24 +0200 2018",
            "user": {"id": 42, "id_str": "42", "screen_name": "ada", "name": "Ada"},
        },
        {
            "data": {"id": "4", "text": "d…", "note_tweet": {"text": "dd"}, "author_id": "42"},
            "includes": {"users": [{"id": "42", "username": "ada", "name": "Ada"}]},
        },
        {"data": [{"id": "5", "text": "e"}, {"id": "6", "text": "f"}], "meta": {}},
        b"",
        {"tweet_id": 7, "content": "g", "date": 1539202764, "lang": None},
        {"id": 8, "text": "h", "created_at": "2018-10-10 20:19:24"},
    )
    assert entries == [
        Tweet(id=1, text="a", **ada),
        Tweet(id=2, text="b", author_id=42, created_at=AT),
        Tweet(id=3, text="c <3", created_at=AT, **ada),
        Tweet(id=4, text="dd", **ada),
        Tweet(id=5, text="e"),
        Tweet(id=6, text="f"),
        Tweet(id=7, text="g", created_at=AT),
        Tweet(id=8, text="h", created_at=AT),
    ]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (b"{", "no JSON"),
        (b'{"id": 1, "text": "\\ud800"}', "no JSON"),
        (b'{"id": 1, "text": "\xff"}', "no JSON"),
        (b"[1]", "this is an array"),
        (b"null", "this is null"),
        (b'"text"', "this is text"),
        (b"5", "this is a number"),
        ({"text": "a"}, "no id"),
        ({"id": True, "text": "a"}, "whole number"),
        ({"id": 1.05e18, "text": "a"}, "lost digits"),
        ({"id": 0, "text": "a"}, "whole number"),
        ({"id": 2**63, "text": "a"}, "whole number"),
        ({"id": "abc", "text": "a"}, "whole number"),
        ({"id": 1}, "tweet 1 has no text"),
        ({"id": 1, "text": 5}, "tweet 1 has no text"),
        ({"id": 1, "text": "a" * 100_001}, "100001 characters"),
        ({"id": 1, "text": "a", "author_id": "x"}, "author_id is not a whole number"),
        ({"id": 1, "text": "a", "created_at": "yesterday"}, "no time"),
        ({"id": 1, "text": "a", "created_at": "Wed Oct 99 20:19:24 +0000 2018"}, "no time"),
        ({"id": 1, "text": "a", "created_at": 1e300}, "no time"),
        ({"id": 1, "text": "a", "created_at": []}, "no time"),
        ({"data": [5]}, "this is a number"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_a_faulty_line_stops_nothing(tmp_path: Path, entry: Any, words: str) -> None:
    """It is told by its number, without its text, and the next is read."""
    first, fault, last = lines(tmp_path, {"id": 1, "text": "a"}, entry, {"id": 2, "text": "b"})
    assert isinstance(first, Tweet)
    assert isinstance(last, Tweet)
    assert isinstance(fault, ArchiveFault)
    assert fault.line == 2
    assert words in fault.message
    assert len(fault.message) < 300


def test_a_line_without_end_is_passed_over(tmp_path: Path) -> None:
    """A line over the limit is not kept in memory, and the next one is read."""
    long = b'{"id": 1, "text": "' + b"a" * (3 * MAX_LINE_BYTES) + b'"}'
    first, fault, last = lines(tmp_path, {"id": 1, "text": "a"}, long, {"id": 2, "text": "b"})
    assert isinstance(first, Tweet)
    assert isinstance(last, Tweet)
    assert fault == ArchiveFault("tweets.jsonl", 2, f"the line is over {MAX_LINE_BYTES} bytes")


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    """Windows writes one."""
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"id": 1, "text": "a"}\r\n')
    assert read(tmp_path / "a.jsonl") == [Tweet(id=1, text="a")]


def test_a_json_array(tmp_path: Path) -> None:
    """A plain array is taken too."""
    (tmp_path / "a.json").write_text('[{"id": 1, "text": "a"}, 5]')
    assert read(tmp_path / "a.json") == [
        Tweet(id=1, text="a"),
        ArchiveFault("a.json", 1, "a tweet is a JSON object, this is a number"),
    ]


def test_jsonl_is_streamed(tmp_path: Path) -> None:
    """The first tweet is there before the last line is read."""
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "a"}\n' * 10 + "x" * 10)
    entries = read_archive(tmp_path / "a.jsonl", max_file_bytes=10)
    assert next(entries) == Tweet(id=1, text="a")


def test_entries_have_their_place(tmp_path: Path) -> None:
    """A tweet that the model refuses later can be told with its line."""
    file = tmp_path / "t.jsonl"
    file.write_text('{"id": 1, "text": "a"}\n\n{"id": 2, "text": "b"}\n')
    places = [(entry.file, entry.line) for entry in read_entries(file)]
    assert places == [("t.jsonl", 1), ("t.jsonl", 3)]


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b'{"id": 1}\n{"id": 2}\n', 2),
        (b'\xef\xbb\xbf{"id": 1}\n{"id": 2}', 2),
        (b'[{"id": 1},\n{"id": 2}]', None),
        (b"window.YTD.tweets.part0 = [\n]", None),
        (b"", None),
    ],
)
def test_lines_are_counted_where_each_is_an_entry(
    tmp_path: Path, content: bytes, lines: int | None
) -> None:
    """For the time that is left; of other files nobody knows without decoding them."""
    file = tmp_path / "t"
    file.write_bytes(content)
    assert count_lines(file) == lines
    assert count_lines(tmp_path) is None
