"""The notebook runs as it stands, against a real server, and what is committed of it is fit to be read."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.e2e.server import ServerProcess, clean_environment, serving

_ROOT = Path(__file__).parents[2]
_NOTEBOOK = _ROOT / "examples" / "tweets.ipynb"
_MOST_BYTES = 300_000
_MOST_PNG_CHARACTERS = 80_000

# pyzmq warns of the local, unencrypted connection between notebook and kernel.
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),  # scoring 600 tweets on a busy machine
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def cells(notebook: Any) -> list[Any]:
    """Its cells of code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def committed() -> Any:
    """The notebook as it is in the repository."""
    return nbformat.read(_NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]  # it has no types


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, committed: Any) -> Iterator[ServerProcess]:
    """A server whose store was filled by the very commands that the notebook names."""
    folder = tmp_path_factory.mktemp("notebook")
    recipe = re.search(r"sample_tweets\.py (.+?) > tweets\.jsonl", committed.cells[0].source)
    assert recipe, "the first cell tells how the tweets are made"
    script = str(_ROOT / "examples" / "sample_tweets.py")
    made = subprocess.run(
        [sys.executable, script, *recipe[1].split()], capture_output=True, check=True, timeout=60
    )
    (folder / "tweets.jsonl").write_bytes(made.stdout)
    score = "from augury.app.cli import main; main()"
    subprocess.run(
        [sys.executable, "-c", score, "tweets", "score", "tweets.jsonl"],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        check=True,
        timeout=100,
    )
    with serving(folder) as running:
        yield running
        running.stop()


@pytest.fixture(scope="module")
def executed(
    server: ServerProcess, committed: Any, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """The notebook with what came out of it just now."""
    folder = tmp_path_factory.mktemp("jupyter")
    notebook = copy.deepcopy(committed)
    for cell in cells(notebook):
        cell.outputs = []
    environment = {
        **os.environ,
        "AUGURY_URL": server.url,
        "MPLCONFIGDIR": str(folder),
        "IPYTHONDIR": str(folder),
        "JUPYTER_RUNTIME_DIR": str(folder),
    }
    client = NotebookClient(notebook, timeout=100, kernel_name="python3")
    client.execute(env=environment, cwd=str(folder))
    return notebook


def test_it_runs_to_its_end(executed: Any) -> None:
    """Every cell, without an error and without a word of complaint."""
    for cell in cells(executed):
        assert cell.execution_count is not None
        for output in cell.outputs:
            assert output.output_type not in {"error", "stream"}, output


def test_what_is_committed_is_what_comes_out(executed: Any, committed: Any) -> None:
    """The same kinds of output from each cell, and the same authors in the same order.

    Scores may differ in the last digits from processor to processor, and so may pictures.
    """
    for now, then in zip(cells(executed), cells(committed), strict=True):
        kinds = [[sorted(output.data) for output in cell.outputs] for cell in (now, then)]
        assert kinds[0] == kinds[1], now.source
    names = [set(re.findall(r"@\w+", _text(one))) for one in (executed, committed)]
    assert names[0] == names[1]
    assert len(names[0]) > 10


def test_it_draws_what_it_promises(executed: Any) -> None:
    """Three charts, and tables of authors, rising topics and extreme tweets."""
    shown = [output for cell in cells(executed) for output in cell.outputs]
    assert sum("image/png" in output.data for output in shown) == 3
    text = _text(executed)
    assert "#lanterns" in text, "rising"
    assert "@harbour_ferry" in text
    assert text.index("wonderful") < text.index("this is awful"), "the extremes"


def test_what_is_committed_is_small_and_tells_nothing_of_a_machine(committed: Any) -> None:
    """A few hundred kilobytes, all cells run in order, no paths, no times of execution."""
    assert _NOTEBOOK.stat().st_size < _MOST_BYTES
    text = _NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"(/home|/root|/work|/tmp|/Users|site-packages|ipykernel_\d)", text)
    assert set(committed.metadata) == {"kernelspec", "language_info"}
    for number, cell in enumerate(cells(committed), 1):
        assert cell.execution_count == number
        assert cell.metadata == {}
        for output in cell.outputs:
            assert len(output.data.get("image/png", "")) < _MOST_PNG_CHARACTERS


def test_its_tweets_are_invented(committed: Any) -> None:
    """It says so, and the script that writes them gives the same ones again."""
    assert "invented" in committed.cells[0].source
    script = [sys.executable, str(_ROOT / "examples" / "sample_tweets.py")]
    script += ["--tweets", "20", "--until", "2024-11-18T00:00:00Z"]
    once, again = (subprocess.run(script, capture_output=True, check=True).stdout for _ in "12")
    assert once == again
    assert len(once.splitlines()) == 20


def _text(notebook: Any) -> str:
    return "\n".join(
        output.data.get("text/plain", "")
        for cell in cells(notebook)
        for output in cell.outputs
        if "data" in output
    )
