"""Tweets out of CSV and TSV."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from augury.app.cli.tweets.tables import Columns, TableFormat, read_table, table_layout
from augury.app.local.rows import WrongColumns
from augury.services.tweets.model import Tweet, id_of_name
from augury.services.tweets.sources.archive_files import ArchiveFault, Placed


def read(
    tmp_path: Path, text: str, columns: Columns | None = None, format: TableFormat = "csv"
) -> list[Placed | ArchiveFault]:
    file = tmp_path / f"t.{format}"
    file.write_bytes(text.encode())
    return list(read_table(file, format, table_layout(file, format, columns or Columns())))


def tweets(tmp_path: Path, text: str, columns: Columns | None = None) -> list[Tweet]:
    return [e.tweet for e in read(tmp_path, text, columns) if isinstance(e, Placed)]


def test_the_header_tells(tmp_path: Path) -> None:
    """Columns have the names that JSONL has; others are passed over."""
    rows = tweets(
        tmp_path,
        "\ufefftweet_id,likes,full_text,user_id,screen_name,date,lang\n"
        '20,7,"just, setting up",12,@jack,2006-03-21T20:50:14Z,en\n',
    )
    assert rows == [
        Tweet(
            id=20,
            text="just, setting up",
            author_id=12,
            username="jack",
            created_at=datetime(2006, 3, 21, 20, 50, 14, tzinfo=UTC),
            lang="en",
        )
    ]


@pytest.mark.parametrize(
    ("author", "author_id", "username"),
    [("12", 12, None), ("@jack", id_of_name("jack"), "jack"), ("", None, None)],
)
def test_named_columns(
    tmp_path: Path, author: str, author_id: int | None, username: str | None
) -> None:
    """A person's words go before the header's; an author is an id or a name."""
    (row,) = tweets(
        tmp_path,
        f"n,what,who,when,id,author_id\n20,hello,{author},1142974214,99,98\n",
        Columns("n", "what", "who", "when"),
    )
    assert (row.id, row.author_id, row.username) == (20, author_id, username)
    assert row.created_at == datetime(2006, 3, 21, 20, 50, 14, tzinfo=UTC)


def test_numbers_mean_no_header(tmp_path: Path) -> None:
    """The first line is a tweet then."""
    entries = read(tmp_path, "a\t20\thello\nb\t21\tworld\n", Columns("2", "3"), "tsv")
    assert [(e.line, e.tweet.id) for e in entries if isinstance(e, Placed)] == [(1, 20), (2, 21)]


def test_faults_have_their_line(tmp_path: Path) -> None:
    """A bad record costs itself only."""
    entries = read(tmp_path, "id,text\n20,a\nx,b\n22\n1e18,c\n,d\n23,e\n")
    faults = {e.line: e.message for e in entries if isinstance(e, ArchiveFault)}
    assert sorted(faults) == [3, 4, 5, 6]
    assert "whole number" in faults[3]
    assert "the line has 1 columns" in faults[4]
    assert faults[6].startswith("no id")
    assert [e.tweet.id for e in entries if isinstance(e, Placed)] == [20, 23]


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        ("text\nhello\n", Columns(), "no column of the tweets' id"),
        ("id\n20\n", Columns(), "no column of the tweets' text.*--text-column"),
        ("id,text\n20,a\n", Columns(text="words"), "no column 'words' in the first line"),
        ("", Columns(), "no column of the tweets' id"),
        ("a,b\n", Columns(id="0", text="1"), "counted from 1"),
    ],
)
def test_columns_that_are_not_there(
    tmp_path: Path, text: str, columns: Columns, words: str
) -> None:
    """Told before any tweet."""
    with pytest.raises(WrongColumns, match=words):
        read(tmp_path, text, columns)
