"""Read the files in which people keep tweets.

Told apart by their content, not their name:

- the archive that X hands out: its folder, its ``.zip``, or the ``tweets.js`` in it; the author is
  read from ``account.js`` beside it;
- a JSON array of tweets;
- JSONL, one tweet, or one answer of the API v2, on a line; read line by line, so of any length.

Names taken in JSONL, the first that is there: ``id | id_str | tweet_id``; ``note_tweet.text | text |
full_text | content``; ``author_id | user_id | author.id | user.id_str``; ``username |
author_username | screen_name | author.username | user.screen_name``; ``author_name | name |
author.name | user.name``; ``created_at | date`` (ISO 8601, X's own format, or seconds since 1970);
``lang``.

An entry that is no tweet becomes an :class:`ArchiveFault`, and reading goes on.  Nothing is
extracted to disk, and nothing is evaluated: ``tweets.js`` is read as the JSON that it carries.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

import msgspec

from augury.core.errors import OperatorError
from augury.services.tweets.model import Tweet
from augury.services.tweets.sources.archive_entries import (
    Account,
    NotATweetError,
    account_of,
    tweets_of,
)

# `tweets.js` is decoded as a whole; X splits it at about 100 MB into parts.
DEFAULT_MAX_FILE_BYTES: Final = 512 * 1024 * 1024
MAX_LINE_BYTES: Final = 1024 * 1024
_MAX_ACCOUNT_BYTES: Final = 1024 * 1024
_BLOCK_BYTES: Final = 1024 * 1024

_ASSIGNMENT: Final = re.compile(rb"\s*window\.YTD\.\w+\.part\d+\s*=\s*")
_TWEETS_FILE: Final = re.compile(r"(?:tweets?|tweets?-part\d+)\.js")
_BYTE: Final = re.compile(r"\(byte (\d+)\)")


@dataclass(frozen=True, slots=True)
class ArchiveFault:
    """An entry that is no tweet.

    Args:
        file: Name of the file, or of the member of the ``.zip``.
        line: Line on which the entry starts, counted from 1.
        message: What is wrong with it; never its text.
    """

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Placed:
    """A tweet and where it stands.

    Args:
        file: Name of the file, or of the member of the ``.zip``.
        line: Line on which the entry starts, counted from 1.
        tweet: The tweet.
    """

    file: str
    line: int
    tweet: Tweet


Entry = Placed | ArchiveFault


def read_archive(
    path: Path, *, max_file_bytes: int = DEFAULT_MAX_FILE_BYTES
) -> Iterator[Tweet | ArchiveFault]:
    """All tweets of *path*, in its order; see :func:`read_entries`."""
    for entry in read_entries(path, max_file_bytes=max_file_bytes):
        yield entry.tweet if isinstance(entry, Placed) else entry


def read_entries(path: Path, *, max_file_bytes: int = DEFAULT_MAX_FILE_BYTES) -> Iterator[Entry]:
    """All tweets of *path* and their places, in its order.

    Args:
        path: A file or folder as the module's text lists them.
        max_file_bytes: Bound of files that are decoded as a whole, unpacked.

    Raises:
        OperatorError: Not there, not readable, too large, or of another kind.
    """
    try:
        if path.is_dir():
            yield from _read_folder(path, max_file_bytes)
        elif zipfile.is_zipfile(path):
            yield from _read_zip(path, max_file_bytes)
        else:
            with path.open("rb") as file:
                yield from _read_stream(file, path.name, _account_beside(path), max_file_bytes)
    except FileNotFoundError:
        raise OperatorError(f"{path}: no such file or folder") from None
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        # zipfile raises RuntimeError for encrypted members, NotImplementedError for odd packing.
        raise OperatorError(f"{path} cannot be read: {error}") from None


def count_lines(path: Path) -> int | None:
    """How many lines *path* has, if it is JSONL, where each is an entry; else ``None``.

    Raises:
        OSError: It cannot be read.
    """
    if path.is_dir() or zipfile.is_zipfile(path):
        return None
    with path.open("rb") as file:
        if file.read(3 + MAX_LINE_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] != b"{":
            return None
        file.seek(0)
        lines, last = 0, b"\n"
        while block := file.read(_BLOCK_BYTES):
            lines += block.count(b"\n")
            last = block[-1:]
        return lines + (last != b"\n")


def _read_folder(folder: Path, max_file_bytes: int) -> Iterator[Entry]:
    data = folder / "data" if (folder / "data").is_dir() else folder
    files = sorted(file for file in data.iterdir() if _TWEETS_FILE.fullmatch(file.name))
    if not files:
        raise OperatorError(f"{folder} holds no tweets.js; is it an archive of X?")
    account = _account_beside(files[0])
    for path in files:
        with path.open("rb") as file:
            yield from _read_stream(file, path.name, account, max_file_bytes)


def _read_zip(path: Path, max_file_bytes: int) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        members = sorted(
            (
                member
                for member in archive.infolist()
                if _TWEETS_FILE.fullmatch(PurePosixPath(member.filename).name)
            ),
            key=lambda member: member.filename,
        )
        if not members:
            raise OperatorError(f"{path} holds no tweets.js; is it an archive of X?")
        account = Account()
        for member in archive.infolist():
            if PurePosixPath(member.filename).name == "account.js":
                with archive.open(member) as stream:
                    account = _read_account(stream)
        for member in members:
            with archive.open(member) as stream:
                yield from _read_stream(stream, member.filename, account, max_file_bytes)


def _account_beside(path: Path) -> Account:
    beside = path.with_name("account.js")
    if not beside.is_file():
        return Account()
    with beside.open("rb") as stream:
        return _read_account(stream)


def _read_account(stream: IO[bytes]) -> Account:
    """The account; an empty one when the file is not what we know."""
    content = stream.read(_MAX_ACCOUNT_BYTES)
    match = _ASSIGNMENT.match(content)
    return account_of(content[match.end() if match else 0 :])


def _read_stream(
    stream: IO[bytes], name: str, account: Account, max_file_bytes: int
) -> Iterator[Entry]:
    first = stream.readline(MAX_LINE_BYTES).removeprefix(b"\xef\xbb\xbf")
    start = first.lstrip()[:1]
    if start == b"{":
        yield from _read_lines(stream, first, name, account)
    elif start == b"[" or _ASSIGNMENT.match(first):
        # What the header of a .zip tells of sizes is not to be trusted; what is read is.
        content = first + stream.read(max_file_bytes + 1)
        if len(content) > max_file_bytes:
            raise OperatorError(
                f"{name} is over {max_file_bytes} bytes, too large to decode as a whole; "
                "write it as JSONL, which has no limit"
            )
        yield from _read_array(content, name, account)
    elif start:
        raise OperatorError(
            f"{name} is neither a tweets.js of X's archive, nor a JSON array, nor JSONL"
        )


def _read_lines(stream: IO[bytes], first: bytes, name: str, account: Account) -> Iterator[Entry]:
    number, line = 0, first
    while line:
        number += 1
        if len(line) >= MAX_LINE_BYTES and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = stream.readline(MAX_LINE_BYTES)
            yield ArchiveFault(name, number, f"the line is over {MAX_LINE_BYTES} bytes")
        elif not line.isspace():
            yield from _read_entry(line, name, number, account)
        line = stream.readline(MAX_LINE_BYTES)


def _read_array(content: bytes, name: str, account: Account) -> Iterator[Entry]:
    match = _ASSIGNMENT.match(content)
    begin = match.end() if match else 0
    try:
        # The `;` that some exports end the statement with is no JSON.
        end = len(content.rstrip(b" \t\r\n;"))
        entries = msgspec.json.decode(memoryview(content)[begin:end], type=list[msgspec.Raw])
    except msgspec.MsgspecError as error:
        position = _BYTE.search(str(error))
        at = begin + int(position[1]) if position else len(content)
        yield ArchiveFault(name, content.count(b"\n", 0, at) + 1, f"no JSON array: {error}")
        return
    position_, line = begin, 1 + content.count(b"\n", 0, begin)
    for entry in entries:
        raw = bytes(entry)
        found = content.index(raw, position_)
        line += content.count(b"\n", position_, found)
        yield from _read_entry(raw, name, line, account)
        position_ = found


def _read_entry(raw: bytes, name: str, line: int, account: Account) -> Iterator[Entry]:
    try:
        value: Any = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        yield ArchiveFault(name, line, f"no JSON: {error}")
        return
    try:
        for tweet in tweets_of(value, account):
            yield Placed(name, line, tweet)
    except NotATweetError as fault:
        yield ArchiveFault(name, line, str(fault))
