"""The dashboard in a browser, over a real server process with a store of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from augury.services.tweets.model import Tweet
from tests.e2e.server import ServerProcess, clean_environment, serve_command
from tests.services.ui.browser import prefer, set_viewport
from tests.services.ui.crowd import write_lines

WAIT_S = 20


class Place:
    """A folder with a store, and a port on which servers come and go.

    Args:
        folder: Where the store lies.
        *args: Of ``augury serve``.
    """

    def __init__(self, folder: Path, *args: str) -> None:
        self.folder = folder
        self.store = f"sqlite:///{folder / 'store.sqlite3'}"
        self._args = args
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def score(self, some: Iterable[Tweet]) -> None:
        """Let ``augury tweets score`` judge *some* and write them down."""
        file = self.folder / "tweets.jsonl"
        write_lines(file, iter(some))
        command = [sys.executable, "-c", "from augury.app.cli import main; main()"]
        subprocess.run(
            [*command, "tweets", "score", str(file), "--store", self.store, "--json"],
            cwd=self.folder,
            env=clean_environment(),
            check=True,
            capture_output=True,
            timeout=120,
        )

    @contextmanager
    def serving(self, *, ready: bool = True, **settings: str) -> Iterator[ServerProcess]:
        """A server on the port; killed when the block ends, if it still runs.

        Args:
            ready: Whether to wait for readiness, or only for the socket.
            **settings: For the environment.
        """
        server = ServerProcess(
            serve_command(*self._args, "--http-port", str(self.port)),
            self.folder,
            clean_environment(store=self.store, **settings),
        )
        try:
            server.wait_until_listening()
            if ready:
                server.wait_until_ready()
            yield server
        finally:
            server.kill()


class Dashboard:
    """What a person does at the dashboard, and sees.

    Args:
        driver: The browser.
        url: The server.
    """

    def __init__(self, driver: Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(
        self, address: str = "", *, scheme: str = "light", width: int = 1440, phone: bool = False
    ) -> None:
        """Load ``/ui`` at *address* (``#…``), anew."""
        set_viewport(self.driver, width, 900, phone=phone)
        prefer(self.driver, scheme=scheme, motion="reduce")
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/ui{address}")

    def all(self, selector: str) -> list[WebElement]:
        """Every element that fits."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """The first that fits, as soon as it is there."""
        found: WebElement = self.wait(lambda: next(iter(self.all(selector)), None), selector)
        return found

    def wait(self, look: Any, what: str = "") -> Any:
        """What *look* returns, as soon as it is something."""
        return WebDriverWait(self.driver, WAIT_S).until(lambda _: look(), what)

    def text(self, selector: str) -> str:
        """The text of the first that fits, as it was set."""
        self.one(selector)
        script = "return document.querySelector(arguments[0])?.textContent ?? ''"
        return str(self.driver.execute_script(script, selector)).strip()

    def texts(self, selector: str) -> list[str]:
        """The texts of all that fit."""
        script = (
            "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent.trim())"
        )
        return list(self.driver.execute_script(script, selector))

    def wait_for_text(self, selector: str, part: str) -> None:
        """Return when *part* is in the text of what fits."""
        self.wait(lambda: part in self.text(selector), f"{part!r} in {selector}")

    def drawn(self, panel: str) -> None:
        """Return when a panel shows its chart."""
        self.one(f"#panel-{panel} canvas")
        self.wait(lambda: not self.all(f"#panel-{panel}[aria-busy]"))

    def js(self, script: str, *args: Any) -> Any:
        """What *script* returns."""
        return self.driver.execute_script(script, *args)

    def download(self, panel: str, kind: str) -> tuple[str, bytes]:
        """Press a panel's CSV or PNG, and take the file out of the browser's hands.

        Returns:
            Its name and its bytes.
        """
        self.drawn(panel)
        answer = self.driver.execute_async_script(
            """
            const [panel, kind, done] = arguments;
            const click = HTMLAnchorElement.prototype.click;
            HTMLAnchorElement.prototype.click = function () {
              HTMLAnchorElement.prototype.click = click;
              const name = this.download;
              done_with(name);
            };
            const create = URL.createObjectURL;
            let kept = null;
            URL.createObjectURL = (blob) => { kept = blob; return create.call(URL, blob); };
            async function done_with(name) {
              URL.createObjectURL = create;
              const bytes = new Uint8Array(await kept.arrayBuffer());
              done(JSON.stringify([name, kept.type, Array.from(bytes)]));
            }
            const words = `#panel-${panel} .tools button`;
            [...document.querySelectorAll(words)].find(b => b.textContent === kind).click();
            """,
            panel,
            kind,
        )
        name, _, content = json.loads(answer)
        return name, bytes(content)

    def errors(self) -> list[str]:
        """What the console has said since it was asked last, but for the network's own words."""
        log: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [
            entry["message"]
            for entry in log
            if not any(
                word in entry["message"]
                for word in ("status of 4", "ERR_CONNECTION", "ERR_INCOMPLETE")
            )
        ]
