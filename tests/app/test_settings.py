"""Where settings come from, and what is said of those that cannot be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from augury.app.settings import Settings, read_settings
from augury.core.errors import InvalidSetting

SECRET = "AAAA-very-secret-bearer"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but a test's own."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.upper().startswith(("AUGURY_", "TWITTER_", "REDIS_")):
            monkeypatch.delenv(name)


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


class TestPrecedence:
    def test_defaults(self) -> None:
        """Loopback, port 8000, 32 MiB."""
        settings = read_settings()
        assert (settings.host, settings.http_port) == ("127.0.0.1", 8000)
        assert settings.max_body_bytes == 32 * 1024 * 1024
        assert settings.model_control == "poll"

    def test_each_source_gives_way_to_the_next(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Flags, then the environment, then .env, then the file, then the defaults."""
        write("augury.toml", "http_port = 1\nmax_texts = 1\ncache_bytes = 1\nmodel_poll_s = 11\n")
        write(".env", "AUGURY_HTTP_PORT=2\nAUGURY_MAX_TEXTS=2\nAUGURY_CACHE_BYTES=2\n")
        monkeypatch.setenv("AUGURY_HTTP_PORT", "3")
        monkeypatch.setenv("AUGURY_MAX_TEXTS", "3")
        settings = read_settings(http_port=4)
        assert settings.http_port == 4
        assert settings.max_texts == 3
        assert settings.cache_bytes == 2
        assert settings.model_poll_s == 11
        assert settings.log_level == "info"

    def test_a_weaker_source_may_say_the_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the environment sets wins over the file, though it is the default."""
        write("augury.toml", "http_port = 1\n")
        monkeypatch.setenv("AUGURY_HTTP_PORT", "8000")
        assert read_settings().http_port == 8000

    def test_flags_that_were_not_given_say_nothing(self) -> None:
        """None is not a value."""
        write("augury.toml", "http_port = 1\n")
        assert read_settings(http_port=None, host=None).http_port == 1

    def test_a_named_file_takes_the_place_of_the_other(self) -> None:
        """--config names the file that is read, and no other is; the next reading starts anew."""
        write("augury.toml", "http_port = 1\nmax_texts = 1\n")
        other = write("other.toml", "http_port = 2\n")
        settings = read_settings(other)
        assert (settings.http_port, settings.max_texts) == (2, 256)
        assert read_settings().http_port == 1

    def test_every_setting_may_come_from_anywhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each field has a name in the environment and in the file."""
        given = {
            "host": "::1",
            "log_format": "json",
            "ready_without_models": "true",
            "log_file": "a.log",
            "drain_timeout_s": "2.5",
            "client_timeout_s": "3.5",
        }
        for name, value in given.items():
            monkeypatch.setenv(f"AUGURY_{name.upper()}", value)
        settings = read_settings()
        for name, value in given.items():
            assert str(getattr(settings, name)).lower() == value

    def test_the_environment_without_our_prefix_is_not_ours(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """HOST and X_BEARER_TOKEN of some other program do nothing."""
        monkeypatch.setenv("HOST", "0.0.0.0")
        monkeypatch.setenv("X_BEARER_TOKEN", SECRET)
        monkeypatch.setenv("STORE", "nonsense")
        settings = read_settings()
        assert settings.host == "127.0.0.1"
        assert settings.x_bearer_token is None
        assert settings.store.startswith("sqlite://")


class TestStore:
    @pytest.mark.parametrize("prefix", ["", "AUGURY_"])
    def test_a_redis_may_be_named_by_its_host(
        self, prefix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """REDIS_HOST and REDIS_PORT, the seed's names, are a store where none is set."""
        monkeypatch.setenv(f"{prefix}REDIS_HOST", "cache")
        assert read_settings().store == "redis://cache:6379/0"
        monkeypatch.setenv(f"{prefix}REDIS_PORT", "6380")
        assert read_settings().store == "redis://cache:6380/0"
        assert read_settings().caches_in_store

    def test_dotenv_may_name_it(self) -> None:
        """By the seed's names, too."""
        write(".env", "REDIS_HOST=::1\nREDIS_PORT=7000\n")
        assert read_settings().store == "redis://[::1]:7000/0"

    def test_a_store_that_is_set_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Wherever it is set: REDIS_HOST is for those who set none."""
        monkeypatch.setenv("REDIS_HOST", "cache")
        assert read_settings(store="memory://").store == "memory://"
        write("augury.toml", 'store = "sqlite:///file.db"\n')
        assert read_settings().store == "sqlite:///file.db"
        write(".env", "AUGURY_STORE=sqlite:///dotenv.db\n")
        assert read_settings().store == "sqlite:///dotenv.db"
        monkeypatch.setenv("AUGURY_STORE", "sqlite:///environment.db")
        assert read_settings().store == "sqlite:///environment.db"

    @pytest.mark.parametrize("blank", ["", "  "])
    def test_a_blank_host_is_none(self, blank: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Compose files set what they do not know to nothing."""
        monkeypatch.setenv("REDIS_HOST", blank)
        monkeypatch.setenv("REDIS_PORT", "")
        assert read_settings().store.startswith("sqlite://")

    def test_the_port_of_kubernetes_is_understood(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a service is called redis, each container gets REDIS_PORT=tcp://address:port."""
        monkeypatch.setenv("REDIS_PORT", "tcp://10.0.0.11:6381")
        monkeypatch.setenv("REDIS_HOST", "redis")
        assert read_settings().store == "redis://redis:6381/0"

    def test_a_password_is_filled_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the URL of a Redis names nobody; nothing else gets it, and it is not shown."""
        password = "p@ss/word:#?%"
        monkeypatch.setenv("REDIS_PASSWORD", password)
        quoted = "p%40ss%2Fword%3A%23%3F%25"
        for store, want in (
            ("redis://cache/0", f"redis://:{quoted}@cache/0"),
            ("rediss://cache:1/0?pool=2", f"rediss://:{quoted}@cache:1/0?pool=2"),
            ("redis://ada:own@cache/0", "redis://ada:own@cache/0"),
            ("memory://", "memory://"),
            ("sqlite:///a.db", "sqlite:///a.db"),
        ):
            settings = read_settings(store=store)
            assert settings.store == want
            assert password not in repr(settings)
            assert quoted not in repr(settings)
        monkeypatch.setenv("AUGURY_REDIS_HOST", "cache")
        monkeypatch.setenv("AUGURY_REDIS_PASSWORD", "ours")
        assert read_settings().store == "redis://:ours@cache:6379/0"


class TestTokens:
    @pytest.mark.parametrize("name", ["AUGURY_X_BEARER_TOKEN", "TWITTER_BEARER_TOKEN"])
    def test_both_names_work(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The seed's name, and ours."""
        monkeypatch.setenv(name, SECRET)
        token = read_settings().x_bearer_token
        assert token is not None
        assert token.get_secret_value() == SECRET

    def test_ours_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of two names the newer one counts."""
        monkeypatch.setenv("TWITTER_BEARER_TOKEN", "old")
        monkeypatch.setenv("AUGURY_X_BEARER_TOKEN", "new")
        token = read_settings().x_bearer_token
        assert token is not None
        assert token.get_secret_value() == "new"

    def test_the_file_may_hold_it(self) -> None:
        """By the setting's own name; the environment wins."""
        write("augury.toml", f'x_bearer_token = "{SECRET}"\n')
        token = read_settings().x_bearer_token
        assert token is not None
        assert token.get_secret_value() == SECRET

    def test_the_environment_wins_over_the_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """By whichever name it is given there."""
        write("augury.toml", 'x_bearer_token = "from the file"\n')
        monkeypatch.setenv("TWITTER_BEARER_TOKEN", SECRET)
        token = read_settings().x_bearer_token
        assert token is not None
        assert token.get_secret_value() == SECRET

    @pytest.mark.parametrize("blank", ["", "  ", "\t"])
    def test_a_blank_one_is_none(self, blank: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Compose files set what they do not know to nothing."""
        monkeypatch.setenv("AUGURY_X_BEARER_TOKEN", blank)
        assert read_settings().x_bearer_token is None

    def test_it_is_shown_nowhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither the settings nor an error about them tell a secret."""
        monkeypatch.setenv("AUGURY_X_BEARER_TOKEN", SECRET)
        settings = read_settings()
        for shown in (repr(settings), str(settings), str(settings.model_dump())):
            assert SECRET not in shown
        monkeypatch.setenv("AUGURY_HTTP_PORT", "nonsense")
        with pytest.raises(InvalidSetting) as refused:
            read_settings()
        assert SECRET not in str(refused.value)

    def test_a_password_in_the_store_is_shown_nowhere(self) -> None:
        """URLs of stores may hold passwords."""
        settings = read_settings(store=f"redis://augury:{SECRET}@cache:6379/0")
        for shown in (repr(settings), str(settings)):
            assert SECRET not in shown
        assert SECRET in settings.store


class TestFaults:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("HTTP_PORT", "x"),
            ("HTTP_PORT", "-1"),
            ("HTTP_PORT", "65536"),
            ("HTTP_PORT", ""),
            ("MODEL_CONTROL", "explicit"),
            ("LOG_LEVEL", "loud"),
            ("LOG_FORMAT", "xml"),
            ("MAX_BODY_BYTES", "3"),
            ("CACHE_BYTES", "-1"),
            ("READY_WITHOUT_MODELS", "maybe"),
            ("DRAIN_TIMEOUT_S", "0"),
            ("DRAIN_GRACE_S", "nan"),
            ("CLIENT_TIMEOUT_S", "inf"),
            ("MODEL_POLL_S", "nan"),
            ("X_TIMEOUT_S", "0"),
            ("STORE_TIMEOUT_S", "0"),
            ("STORE_BUFFER_ITEMS", "0"),
        ],
    )
    def test_an_impossible_value_names_its_setting(
        self, name: str, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One line, with the setting's name."""
        monkeypatch.setenv(f"AUGURY_{name}", value)
        with pytest.raises(InvalidSetting) as refused:
            read_settings()
        assert f"setting {name.lower()}: " in refused.value.message
        assert "\n" not in refused.value.message

    def test_the_file_is_checked_as_strictly(self) -> None:
        """A bad value in the file is told in the same words."""
        write("augury.toml", 'http_port = "many"\n')
        with pytest.raises(InvalidSetting, match="setting http_port: "):
            read_settings()

    @pytest.mark.parametrize("key", ["http_prot", "HTTP_PORT", "[server]\nhost"])
    def test_an_unknown_key_is_refused(self, key: str) -> None:
        """A misspelt key that was ignored would cost somebody an afternoon."""
        write("augury.toml", f"{key} = 1\n")
        with pytest.raises(InvalidSetting, match=r"augury\.toml: unknown setting"):
            read_settings()

    @pytest.mark.parametrize("text", ["http_port = ", "= 1", "a = 1\na = 2", "[[[", "\0"])
    def test_a_file_that_is_no_toml(self, text: str) -> None:
        """The message names the file, and where in it."""
        write("augury.toml", text)
        with pytest.raises(InvalidSetting, match=r"augury\.toml: "):
            read_settings()

    def test_files_that_are_no_text(self) -> None:
        """Neither file brings a traceback."""
        Path("augury.toml").write_bytes(b'host = "\xff"')
        with pytest.raises(InvalidSetting, match=r"augury\.toml: "):
            read_settings()
        Path("augury.toml").unlink()
        Path(".env").write_bytes(b"AUGURY_HOST=\xff\xfe")
        with pytest.raises(InvalidSetting, match=r"\.env is not UTF-8 text"):
            read_settings()

    def test_files_that_are_folders(self) -> None:
        """A folder in the file's place is told."""
        Path("augury.toml").mkdir()
        with pytest.raises(InvalidSetting, match="directory"):
            read_settings()

    def test_a_named_file_must_be_there(self) -> None:
        """Only the default may be missing."""
        with pytest.raises(InvalidSetting, match=r"no settings file 'other\.toml' \(--config\)"):
            read_settings(Path("other.toml"))

    def test_settings_do_not_change(self) -> None:
        """Whoever holds them sees what was read."""
        with pytest.raises(ValueError, match="frozen"):
            read_settings().http_port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.1", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_who_can_reach_the_server(host: str, loopback: bool) -> None:
    """Only loopback is this machine's alone; a name might be anything."""
    assert Settings(host=host).on_loopback is loopback


class TestAnswersInTheStore:
    @pytest.mark.parametrize(
        ("store", "said", "want"),
        [
            ("redis://localhost:6379/0", "auto", True),
            ("REDISS://localhost/0", "auto", True),
            ("memory://", "auto", False),
            ("sqlite:///redis.sqlite3", "auto", False),
            ("sqlite:///store.sqlite3", "on", True),
            ("redis://localhost:6379/0", "off", False),
        ],
    )
    def test_they_are_shared_where_others_can_read_them(
        self, store: str, said: str, want: bool
    ) -> None:
        """Left alone: in Redis; said otherwise, as it is said."""
        assert read_settings(store=store, cache_store=said).caches_in_store is want
