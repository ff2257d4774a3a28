"""Every setting, its default and its bound.

They come, in this order, from flags, the environment (``AUGURY_*``), ``.env``, ``augury.toml`` and the
defaults here.  Nothing else of Augury reads the environment.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

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
        description="Where predictions are remembered: memory:// or sqlite:///path.",
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
        64 * MIB, description="Bound of the prediction cache; 0 remembers nothing."
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

    @field_validator("x_bearer_token", mode="after")
    @classmethod
    def _blank_is_none(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is not None and value.get_secret_value().strip() else None

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
        return Settings(**given, **weaker)
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
            raise InvalidSetting(
                f"{file}: unknown setting {name!r}; see docs/reference/settings.md"
            )
    return table
