"""Which secrets a server needs where it listens, and what settings say of them."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from augury.app.access import anonymous_scopes_of, check_exposure, open_access, weakness
from augury.app.settings import Settings, read_settings
from augury.core.clock import SystemClock
from augury.core.errors import InvalidSetting
from augury.edge.auth.passwords import hash_password
from augury.stores.memory import MemoryStore

GOOD = {"host": "0.0.0.0", "admin_token": "a-good-long-token", "secret_key": "0123456789abcdef" * 2}
SECRETS = ("FIRST_SUPERUSER", "FIRST_SUPERUSER_PASSWORD")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but a test's own."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.upper().startswith("AUGURY_") or name in SECRETS:
            monkeypatch.delenv(name)


def made(**changes: Any) -> Settings:
    """Settings of a server that others reach, with *changes*."""
    return Settings(**{**GOOD, **changes})


class TestExposure:
    def test_on_loopback_nothing_is_needed(self) -> None:
        """Neither a credential nor a strong one."""
        check_exposure(Settings())
        check_exposure(Settings(first_superuser="ada", first_superuser_password="changethis"))

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org", ""])
    def test_elsewhere_all_that_is_missing_is_named(self, host: str) -> None:
        """At once, so that nobody starts three times."""
        with pytest.raises(InvalidSetting) as refused:
            check_exposure(Settings(host=host))
        for name in ("FIRST_SUPERUSER_PASSWORD", "AUGURY_ADMIN_TOKEN", "AUGURY_SECRET_KEY"):
            assert name in refused.value.message

    def test_a_token_or_a_superuser_will_do(self) -> None:
        """Either, with the secret key."""
        check_exposure(made())
        superuser = {"first_superuser": "ada", "first_superuser_password": "correct horse battery"}
        check_exposure(made(admin_token=None, **superuser))
        with pytest.raises(InvalidSetting, match="AUGURY_SECRET_KEY"):
            check_exposure(made(secret_key=None))
        with pytest.raises(InvalidSetting, match="AUGURY_ADMIN_TOKEN"):
            check_exposure(made(admin_token=None))

    @pytest.mark.parametrize(
        "changes",
        [
            {"admin_token": "changethis"},
            {"admin_token": "Change-Me-Admin-123"},
            {"admin_token": "password1234"},
            {"admin_token": "aaaaaaaaaaaaaaaa"},
            {"admin_token": "123456789012"},
            {"admin_token": "elevenchars"},
            {"secret_key": "changethis" * 4},
            {"first_superuser": "ada", "first_superuser_password": "changethis"},
            {"first_superuser": "ada", "first_superuser_password": "admin"},
        ],
    )
    @pytest.mark.parametrize("model_control", ["poll", "none"])
    def test_weak_secrets_are_refused(self, changes: dict[str, Any], model_control: str) -> None:
        """The setting is named, the secret is not."""
        settings = made(model_control=model_control, **changes)
        with pytest.raises(InvalidSetting) as refused:
            check_exposure(settings)
        for name, value in changes.items():
            if name != "first_superuser":
                assert name in refused.value.message
                assert value not in refused.value.message

    def test_a_hash_is_not_called_weak(self) -> None:
        """What it hashes is not known."""
        hashed = hash_password("whatever")
        check_exposure(made(first_superuser="ada", first_superuser_password=hashed))

    @pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
    @pytest.mark.parametrize("name", ["admin_token", "secret_key"])
    @pytest.mark.parametrize("quote", ["", "'"])
    def test_only_a_password_may_be_a_hash(self, name: str, host: str, quote: str) -> None:
        """A token that is one would be the token itself, which whoever reads the hash could send."""
        hashed = quote + hash_password("whatever") + quote
        with pytest.raises(InvalidSetting, match=f"{name} is a hash") as refused:
            check_exposure(made(host=host, **{name: hashed}))
        assert hashed not in refused.value.message
        assert weakness("$argon2") is not None

    def test_with_model_control_none_no_credential_is_demanded(self) -> None:
        """Whatever changes something is closed to everybody then."""
        check_exposure(Settings(host="0.0.0.0", model_control="none"))

    @pytest.mark.parametrize("name", ["first_superuser", "first_superuser_password"])
    def test_half_a_superuser(self, name: str) -> None:
        """Told on loopback, too: it cannot be meant."""
        with pytest.raises(InvalidSetting, match="the superuser needs both"):
            check_exposure(Settings(**{name: "ada-and-her-dog"}))  # type: ignore[arg-type]

    def test_good_secrets(self) -> None:
        """Sentences, random letters, and words among others."""
        for secret in ("correct horse battery", "Xk29-fjw0-2kfa", "my test of augury!"):
            assert weakness(secret) is None


class TestAnonymous:
    def test_defaults(self) -> None:
        """On loopback all but changing, elsewhere nothing."""
        assert anonymous_scopes_of(Settings()) == {"predict", "read"}
        assert anonymous_scopes_of(Settings(host="0.0.0.0")) == frozenset()

    def test_behind_a_proxy_nothing_is_anonymous(self) -> None:
        """Whoever the proxy lets in comes from loopback too; the operator may say otherwise."""
        proxied = {"allowed_hosts": ("augury.example",)}
        assert anonymous_scopes_of(made(host="127.0.0.1", **proxied)) == frozenset()
        opened = made(host="127.0.0.1", anonymous_scopes="predict", **proxied)
        assert anonymous_scopes_of(opened) == {"predict"}

    @pytest.mark.parametrize(
        ("said", "scopes"),
        [
            ("predict", {"predict"}),
            ("predict, read", {"predict", "read"}),
            ("none", set()),
            ("", None),
            (" ", None),
        ],
    )
    def test_the_operator_decides(
        self, said: str, scopes: set[str] | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Anywhere; a blank value says nothing."""
        monkeypatch.setenv("AUGURY_ANONYMOUS_SCOPES", said)
        assert anonymous_scopes_of(read_settings(host="0.0.0.0")) == (scopes or set())
        default = {"predict", "read"}
        assert anonymous_scopes_of(read_settings()) == (default if scopes is None else scopes)

    @pytest.mark.parametrize("said", ["admin", "read,admin", "everything"])
    def test_admin_is_never_anonymous(self, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nor is what is no scope."""
        monkeypatch.setenv("AUGURY_ANONYMOUS_SCOPES", said)
        with pytest.raises(InvalidSetting, match="setting anonymous_scopes"):
            read_settings()

    async def test_a_server_that_nobody_may_ask_says_so(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It starts, and warns."""
        clock = SystemClock()
        settings = Settings(host="0.0.0.0", model_control="none")
        async with open_access(settings, MemoryStore(clock=clock), clock):
            assert "nobody may ask this server" in caplog.text
            assert any(record.levelno == logging.WARNING for record in caplog.records)


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "field"),
        [
            ("FIRST_SUPERUSER_PASSWORD", "first_superuser_password"),
            ("AUGURY_FIRST_SUPERUSER_PASSWORD", "first_superuser_password"),
            ("AUGURY_ADMIN_TOKEN", "admin_token"),
            ("AUGURY_SECRET_KEY", "secret_key"),
        ],
    )
    def test_secrets_are_shown_nowhere(
        self, name: str, field: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither by the settings nor by an error about others."""
        secret = "very-secret-" * 4
        monkeypatch.setenv(name, secret)
        settings = read_settings()
        assert getattr(settings, field).get_secret_value() == secret
        for shown in (repr(settings), str(settings), str(settings.model_dump())):
            assert secret not in shown
        monkeypatch.setenv("AUGURY_HTTP_PORT", "nonsense")
        with pytest.raises(InvalidSetting) as refused:
            read_settings()
        assert secret not in str(refused.value)

    def test_a_short_secret_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Refused anywhere, without being told."""
        monkeypatch.setenv("AUGURY_SECRET_KEY", "short-secret")
        with pytest.raises(InvalidSetting, match="12 characters, 32 are the least") as refused:
            read_settings()
        assert "short-secret" not in refused.value.message

    def test_blank_secrets_are_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Compose files set what they do not know to nothing."""
        for name in ("FIRST_SUPERUSER", "FIRST_SUPERUSER_PASSWORD", "AUGURY_SECRET_KEY"):
            monkeypatch.setenv(name, " ")
        settings = read_settings()
        assert settings.first_superuser is None
        assert settings.first_superuser_password is None
        assert settings.secret_key is None

    @pytest.mark.parametrize("quote", ["'", '"'])
    def test_a_hash_in_quotes(self, quote: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Docker's --env-file keeps the quotes; a password may have some of its own."""
        hashed = "$argon2id$v=19$m=65536,t=2,p=1$abcd$efgh"
        for said, meant in (
            (f"{quote}{hashed}{quote}", hashed),
            (f"{quote}{hashed}", f"{quote}{hashed}"),
            (f"{quote}correct horse{quote}", f"{quote}correct horse{quote}"),
        ):
            monkeypatch.setenv("FIRST_SUPERUSER_PASSWORD", said)
            password = read_settings().first_superuser_password
            assert password is not None
            assert password.get_secret_value() == meant

    @pytest.mark.parametrize("name", ["log_file", "audit_file"])
    def test_files_have_names(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Blank is none; a folder, or what can be no file, is refused at the start."""
        variable = f"AUGURY_{name.upper()}"
        for blank in ("", " "):
            monkeypatch.setenv(variable, blank)
            assert getattr(read_settings(), name) is None
        Path("folder").mkdir()
        for wrong in (".", "..", "/", "folder", "folder/"):
            monkeypatch.setenv(variable, wrong)
            with pytest.raises(InvalidSetting, match=f"setting {name}"):
                read_settings()
        with pytest.raises(InvalidSetting, match="names no file"):
            read_settings(**{name: Path("a\0b")})
        monkeypatch.setenv(variable, "folder/a.jsonl")
        assert getattr(read_settings(), name) == Path("folder/a.jsonl")

    @pytest.mark.parametrize("name", ["a:b", "a\nb", "x" * 201])
    def test_names_that_basic_cannot_carry(self, name: str) -> None:
        """A colon ends the name."""
        with pytest.raises(InvalidSetting, match="setting"):
            read_settings(first_superuser=name)

    def test_hosts_come_with_commas(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Or as a list in the file."""
        monkeypatch.setenv("AUGURY_ALLOWED_HOSTS", "a.example, b.example:8443,")
        assert read_settings().allowed_hosts == ("a.example", "b.example:8443")
        monkeypatch.delenv("AUGURY_ALLOWED_HOSTS")
        Path("augury.toml").write_text('allowed_hosts = ["c.example"]\nanonymous_scopes = []\n')
        settings = read_settings()
        assert settings.allowed_hosts == ("c.example",)
        assert anonymous_scopes_of(settings) == frozenset()


async def test_a_secret_key_that_others_may_read_is_told_at_the_start() -> None:
    """Not with the first key that comes."""
    Path("augury-data").mkdir()
    file = Path("augury-data/secret.key")
    file.write_text("k" * 64)
    file.chmod(0o644)
    clock = SystemClock()
    with pytest.raises(InvalidSetting, match="chmod 600"):
        async with open_access(Settings(), MemoryStore(clock=clock), clock):
            pass


async def test_no_file_is_made_by_a_server() -> None:
    """Only a key needs the secret key."""
    clock = SystemClock()
    async with open_access(Settings(), MemoryStore(clock=clock), clock):
        assert list(Path().iterdir()) == []
