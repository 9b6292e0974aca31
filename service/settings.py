"""Every knob of the service, read from the environment: LIKELY_PORT, LIKELY_BUNDLES, ..."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S*", re.IGNORECASE)
"""What LIKELY_PORT holds beside a Kubernetes Service named likely: not a setting of ours."""
_DAY_S = 86_400.0


class Settings(BaseSettings):
    """Defaults serve the shipped bundles on a small machine."""

    model_config = SettingsConfigDict(
        env_prefix="LIKELY_", extra="ignore", frozen=True, allow_inf_nan=False
    )

    host: str = Field(
        "127.0.0.1", description="address to listen on; 0.0.0.0 or :: (IPv4 too) in a container"
    )
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    bundles: Annotated[tuple[str, ...], NoDecode] = Field(
        ("bundles",),
        min_length=1,
        description="folders or fsspec URLs, separated by commas: each a bundle, or holding some",
    )
    default_model: str = Field(
        "jem_fashion-mnist",
        description="the model of requests that name none; the first one if it is not there",
    )
    default_screen: str = Field(
        "screen_fashion-mnist",
        description="the model of /ood_score where none is named; if it is not there, the screen "
        "of the default model, or that model",
    )
    backend: Literal["auto", "onnx", "torch"] = Field(
        "auto", description="what runs the exported graphs; auto takes the faster one of each"
    )
    num_threads: int = Field(
        1, ge=0, le=1024, description="threads of one network call; 0 leaves it to the libraries"
    )
    decode_threads: int = Field(2, ge=1, le=64, description="threads that decode images")
    max_rows: int = Field(64, ge=1, description="rows of one step; larger requests are split")
    max_step_ms: float = Field(
        100.0, gt=0, description="time of one step; lanes whose rows cost more take fewer of them"
    )
    max_rows_inside: int = Field(
        4096, ge=1, description="rows accepted and not yet answered; beyond, requests get 429"
    )
    client_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="share of those rows that one client address may fill with several requests; "
        "beyond, it gets 429",
    )
    max_num_samples: int = Field(256, ge=1, description="samples of one request")
    max_images: int = Field(1024, ge=1, description="images, instances or latents of one request")
    max_pixels: int = Field(2**24, ge=1, description="pixels of one uploaded image")
    max_body_bytes: int = Field(2**25, ge=1, description="bytes of one request body")
    max_animation_bytes: int = Field(
        2**23,
        ge=1,
        description="bytes of the frames of one animation; eight such at a time, then 429",
    )
    timeout_s: float = Field(60.0, gt=0, le=_DAY_S, description="time for an answer, then 504")
    body_timeout_s: float = Field(
        30.0, gt=0, le=_DAY_S, description="time to send a request body, then 408"
    )
    keep_alive_s: int = Field(
        60, ge=1, le=3600, description="time that a connection is kept open between requests"
    )
    drain_s: float = Field(
        30.0,
        ge=0,
        le=_DAY_S,
        description="time that accepted requests get after SIGTERM, then 503",
    )
    drift_alpha: float = Field(
        0.01, gt=0, lt=1, description="chance that a test of drift ever alarms without any"
    )
    drift_window: int = Field(
        1000, ge=1, le=10**6, description="p-values that GET /models/{name}/drift looks back on"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe lines of the log; each request is one line of info"
    )

    @field_validator("port", mode="before")
    @classmethod
    def _no_service_address(cls, value: Any) -> Any:
        """The default where Kubernetes wrote the address of a Service into the variable."""
        is_address = isinstance(value, str) and SERVICE_ADDRESS.fullmatch(value)
        return cls.model_fields["port"].default if is_address else value

    @field_validator("bundles", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value
