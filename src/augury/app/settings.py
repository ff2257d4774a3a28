"""Every setting, its default and its bound.

They come, in this order, from flags, the environment (``AUGURY_*``), ``.env``, ``augury.toml`` and the
defaults here.  Nothing else of Augury reads the environment.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from augury.core.errors import InvalidSetting

KIB = 1024
MIB = 1024 * KIB


class Settings(BaseSettings):
    """Settings of one server; each field's description says what it does and in which unit."""

    model_config = SettingsConfigDict(
        env_prefix="AUGURY_",
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",  # the environment holds what is not ours; files are checked below
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
        allow_inf_nan=False,
    )

    host: str = Field("127.0.0.1", description="Address to listen on; loopback by default.")
    http_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8000, description="Port for HTTP; 0 lets the system choose."
    )
    model_control: Literal["poll", "none"] = Field(
        "poll", description="poll: look at the repository again and again; none: only at start."
    )
    model_poll_s: Annotated[float, Field(ge=0.1, le=86_400)] = Field(
        2.0, description="Seconds between two looks at the repository."
    )
    ready_without_models: bool = Field(
        False, description="Whether a server that serves no model counts as ready."
    )
    store: str = Field(
        "sqlite:///augury-data/store.sqlite3",
        repr=False,  # a URL may hold a password
        description="Where predictions, tallies and feature tables are kept: memory://, "
        "sqlite:///path, redis://host:port/db, or rediss:// over TLS.",
    )
    redis_host: str | None = Field(
        None,
        description="Where store is not set, it is the Redis on this host, database 0.",
        validation_alias=AliasChoices("AUGURY_REDIS_HOST", "REDIS_HOST"),
    )
    redis_port: Annotated[int, Field(ge=1, le=65535)] = Field(
        6379,
        description="The port of that Redis.",
        validation_alias=AliasChoices("AUGURY_REDIS_PORT", "REDIS_PORT"),
    )
    redis_password: SecretStr | None = Field(
        None,
        description="The password of a Redis whose URL holds none.",
        validation_alias=AliasChoices("AUGURY_REDIS_PASSWORD", "REDIS_PASSWORD"),
    )
    store_timeout_s: Annotated[float, Field(ge=0.001, le=60)] = Field(
        0.5,
        description="Seconds for one operation on a Redis; a request waits no longer for a store that is down.",
    )
    store_buffer_items: Annotated[int, Field(ge=1)] = Field(
        10_000,
        description="Predictions that wait for a store that is down; the oldest are dropped.",
    )
    store_buffer_bytes: Annotated[int, Field(ge=1024)] = Field(
        64 * MIB, description="Bytes of the predictions that wait for a store that is down."
    )
    features_history: Path = Field(
        Path("augury-data/features"),
        description="Folder of the history of feature tables, for training.",
    )
    costs: Path | None = Field(
        Path("augury-data/costs"),
        description="Folder in which `augury serve` keeps between starts what batches of each model cost "
        "on this machine; empty: nowhere.",
    )
    app_env: Annotated[str, Field(max_length=64)] = Field(
        "development",
        description="What this server is for; production makes log_format json where nothing else sets it.",
        validation_alias=AliasChoices("AUGURY_APP_ENV", "APP_ENV"),
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="console for people, json for machines."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is logged."
    )
    log_file: Path | None = Field(
        None, description="Also log to this file, rotated at midnight, kept for 7 days."
    )
    max_body_bytes: Annotated[int, Field(ge=1024)] = Field(
        32 * MIB, description="A larger request body is refused with 413."
    )
    max_buffered_bytes: Annotated[int, Field(ge=1024)] = Field(
        256 * MIB,
        description="Request bodies over 64 KiB that would take more together are refused with 429.",
    )
    max_header_bytes: Annotated[int, Field(ge=1024)] = Field(
        64 * KIB, description="Larger request headers are refused with 431."
    )
    max_request_rows: Annotated[int, Field(ge=1)] = Field(
        65_536, description="Rows of one request at most."
    )
    cache_bytes: Annotated[int, Field(ge=0)] = Field(
        64 * MIB,
        description="Bytes of the prediction cache in the process; 0 remembers nothing there: where no "
        "store does either, the model is asked for every row, even one that it is computing just then.",
    )
    cache_entries: Annotated[int, Field(ge=0)] = Field(
        1_000_000,
        description="Rows of the prediction cache in the process at most; 0 as for the bytes.",
    )
    cache_store: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether answers are remembered in the store too, for other processes and for "
        "later; auto: when it is Redis.",
    )
    cache_unwritten_bytes: Annotated[int, Field(ge=1024)] = Field(
        16 * MIB,
        description="Answers that wait to be written to the store; the oldest are dropped.",
    )
    client_timeout_s: Annotated[float, Field(ge=1, le=86_400)] = Field(
        30.0,
        description="Seconds that a client may take to send a request's headers, or pause in its "
        "body or in reading its answer, before it is cut.",
    )
    drain_grace_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        1.0, description="Seconds for which a server that was told to stop takes new connections."
    )
    # Less than the 30 s after which Kubernetes kills, together with the grace.
    drain_timeout_s: Annotated[float, Field(ge=1, le=86_400)] = Field(
        25.0, description="Seconds after which requests still under way are cut at shutdown."
    )
    max_texts: Annotated[int, Field(ge=1)] = Field(
        256, description="Texts of one /v1/sentiment request at most."
    )
    x_base_url: str = Field("https://api.x.com", description="Where the X API answers.")
    x_bearer_token: SecretStr | None = Field(
        None,
        description="Bearer token for the X API; without one, tweets come from the archive only.",
        validation_alias=AliasChoices("AUGURY_X_BEARER_TOKEN", "TWITTER_BEARER_TOKEN"),
    )
    x_timeout_s: Annotated[float, Field(gt=0)] = Field(
        10.0, description="Seconds for one question to the X API, waiting and retries included."
    )

    first_superuser: str | None = Field(
        None,
        description="User name of the superuser, who may do everything (HTTP Basic).",
        validation_alias=AliasChoices("AUGURY_FIRST_SUPERUSER", "FIRST_SUPERUSER"),
    )
    first_superuser_password: SecretStr | None = Field(
        None,
        description="The superuser's password, or its hash as `augury keys hash-password` prints it.",
        validation_alias=AliasChoices(
            "AUGURY_FIRST_SUPERUSER_PASSWORD", "FIRST_SUPERUSER_PASSWORD"
        ),
    )
    admin_token: SecretStr | None = Field(
        None, description="A bearer token that may do everything; 12 characters or more."
    )
    secret_key: SecretStr | None = Field(
        None,
        description="API keys are sealed with it; 32 characters or more, the same for all servers on "
        "one store. On loopback it is made when it is needed first, as augury-data/secret.key.",
    )
    anonymous_scopes: Annotated[tuple[Literal["predict", "read"], ...] | None, NoDecode] = Field(
        None,
        description="What may be done without a credential: predict, read, both with a comma, or none. "
        "Unset: predict,read on loopback without allowed_hosts, none elsewhere.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Further names by which this server is asked, as behind a proxy; with commas. "
        "With any, nothing is anonymous unless anonymous_scopes says so.",
    )
    audit_file: Path | None = Field(
        None,
        description="Calls that change something are also written to this file, one JSON line for each "
        "event; if that fails, they are refused.",
    )
    audit_file_bytes: Annotated[int, Field(ge=64 * KIB)] = Field(
        10 * MIB, description="A larger audit file is set aside; five of these are kept."
    )

    @field_validator("anonymous_scopes", "allowed_hosts", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str):
            words = [word.strip() for word in value.split(",") if word.strip()]
            if info.field_name == "anonymous_scopes":
                if not words:
                    return None
                words = [] if words == ["none"] else words
            value = words
        if info.field_name == "anonymous_scopes" and value and "admin" in value:
            raise ValueError("admin is never anonymous; give predict, read, or none")
        return value

    @field_validator("first_superuser", mode="after")
    @classmethod
    def _usable_name(cls, value: str | None) -> str | None:
        if value is None or not value.strip():
            return None
        if ":" in value or not value.isprintable() or len(value) > 200:
            raise ValueError("a user name has up to 200 printable characters, and no colon")
        return value

    @field_validator("first_superuser_password", "admin_token", "secret_key", mode="after")
    @classmethod
    def _blank_secret_is_none(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is not None and value.get_secret_value().strip() else None

    @field_validator("first_superuser_password", mode="after")
    @classmethod
    def _hash_without_quotes(cls, value: SecretStr | None) -> SecretStr | None:
        """Quotes that a shell takes away stay where no shell reads, as in Docker's --env-file."""
        text = "" if value is None else value.get_secret_value()
        if text[:1] in ("'", '"') and text[-1] == text[0] and text[1:].startswith("$argon2"):
            return SecretStr(text[1:-1])
        return value

    @field_validator("log_file", "audit_file", "costs", mode="before")
    @classmethod
    def _blank_file_is_none(cls, value: object) -> object:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("log_file", "audit_file", mode="after")
    @classmethod
    def _file_has_a_name(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        if not value.name or "\0" in str(value):
            raise ValueError(f"{str(value)!r} names no file")
        if os.path.isdir(value):  # noqa: PTH112  says no, too, where a folder may not be read
            raise ValueError(f"{str(value)!r} is a folder, not a file")
        return value

    @field_validator("secret_key", mode="after")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError(
                f"it has {len(value.get_secret_value())} characters, 32 are the least; "
                "make one with: openssl rand -hex 32"
            )
        return value

    @field_validator("redis_host", mode="after")
    @classmethod
    def _blank_host_is_none(cls, value: str | None) -> str | None:
        return value.strip() or None if value else None

    @field_validator("redis_port", mode="before")
    @classmethod
    def _port_of_kubernetes(cls, value: object) -> object:
        """Kubernetes sets REDIS_PORT to tcp://address:port where a service is called redis."""
        if isinstance(value, str) and value.startswith("tcp://"):
            return value.rpartition(":")[2]
        return value if value != "" else 6379

    @model_validator(mode="after")
    def _store_is_redis(self) -> Self:
        """Where only the host of a Redis is named, that is the store; a password is filled in."""
        url = self.store
        if self.redis_host is not None and "store" not in self.model_fields_set:
            host = f"[{self.redis_host}]" if ":" in self.redis_host else self.redis_host
            url = f"redis://{host}:{self.redis_port}/0"
        scheme, separator, rest = url.partition("://")
        password = self.redis_password.get_secret_value() if self.redis_password else ""
        if password and scheme.lower() in ("redis", "rediss") and "@" not in rest:
            url = f"{scheme}{separator}:{quote(password, safe='')}@{rest}"
        # Past the setter, which the frozen model refuses, and past model_fields_set: a weaker source
        # that sets the store itself must still be heard.
        self.__dict__["store"] = url
        return self

    @field_validator("x_bearer_token", mode="after")
    @classmethod
    def _blank_is_none(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is not None and value.get_secret_value().strip() else None

    @property
    def caches_in_store(self) -> bool:
        """Whether answers are remembered in the store.

        A file or memory of this process's own gains nothing over the process's cache but a restart,
        and a file is slower than quick models are; a store that several processes share does.
        """
        if self.cache_store == "auto":
            return self.store.lower().startswith("redis")
        return self.cache_store == "on"

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_settings(config: Path | None = None, **flags: Any) -> Settings:
    """All settings.

    Args:
        config: The TOML file; default ``augury.toml`` in the working folder, if it is there.
        **flags: From the command line; those that are ``None`` were not given.

    Raises:
        InvalidSetting: An impossible value, an unknown key in the file, or no such file.
    """
    table = _read_table(config)
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        # Whatever no flag, environment or .env has set, the file may set.
        stronger = Settings(**given).model_fields_set
        weaker = {name: value for name, value in table.items() if name not in stronger}
        settings = Settings(**given, **weaker)
        if settings.app_env == "production" and "log_format" not in settings.model_fields_set:
            settings = settings.model_copy(update={"log_format": "json"})
        return settings
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InvalidSetting(f"setting {name}: {first['msg']}") from None
    except UnicodeDecodeError as error:
        raise InvalidSetting(f".env is not UTF-8 text: {error.reason}") from None


def _read_table(config: Path | None) -> dict[str, Any]:
    """What the file says; nothing when there is none and none was named."""
    import tomllib

    file = config or Path("augury.toml")
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if config is None:
            return {}
        raise InvalidSetting(f"no settings file {str(config)!r} (--config)") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{file}: {error}") from None
    except OSError as error:
        raise InvalidSetting(f"{file}: {error.strerror}") from None
    for name in table:
        if name not in Settings.model_fields:
            raise InvalidSetting(f"{file}: unknown setting {name!r}; see docs/settings.md")
    return table
