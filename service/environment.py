"""The settings as a process gets them: which LIKELY_* names are ours, another's or a typo."""

import difflib
import re
from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from service.settings import SERVICE_ADDRESS, Settings

PREFIX = "LIKELY_"
_OTHER_PROGRAMS = frozenset({"LIKELY_DATA"})
"""Ours too, but not of the service: where training keeps its data."""
_SERVICE_LINK = re.compile(
    r"LIKELY_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
"""Names that Kubernetes gives every container of a namespace with a Service named likely, or
likely-something, and Docker one that is linked to such a container."""
_SHOWN = 60
"""Characters of a value that are shown."""


class WrongSetting(ValueError):
    """A setting that cannot be used; one line that names the variable and says what is accepted."""


def read_settings() -> Settings:
    """The settings of this process's environment. Raises WrongSetting."""
    try:
        return Settings()
    except ValidationError as error:
        raise WrongSetting("; ".join(_lines(error))) from error


def ignored_names(environ: Mapping[str, str]) -> list[str]:
    """A warning for each LIKELY_ name that sets nothing although it looks as if it did."""
    warnings = []
    for name, value in environ.items():
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in _OTHER_PROGRAMS:
            continue
        is_setting = upper.removeprefix(PREFIX).lower() in Settings.model_fields
        if is_setting and SERVICE_ADDRESS.fullmatch(value):
            warnings.append(
                f"{name}={_shown(value)} is ignored: it is the address of a Kubernetes Service or "
                "of a linked container"
            )
        elif not is_setting and not _SERVICE_LINK.fullmatch(upper):
            warnings.append(f"{name} is ignored: {_nearest(upper)}")
    return warnings


def usage() -> str:
    """Every variable with its default and its meaning, a line each."""
    names = {name: f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    width = max(map(len, names.values()))
    return "\n".join(
        f"  {names[name]:{width}}  {field.description} "
        f"({','.join(field.default) if isinstance(field.default, tuple) else field.default})"
        for name, field in Settings.model_fields.items()
    )


def _nearest(name: str) -> str:
    """What an unknown name may have meant."""
    known = [f"{PREFIX}{field.upper()}" for field in Settings.model_fields]
    near = difflib.get_close_matches(name, known, n=1)
    meant = f", {near[0]} is" if near else ""
    return f"no setting has this name{meant}; `python -m service --help` lists them"


def _lines(error: ValidationError) -> Iterator[str]:
    """What is wrong with each variable."""
    for wrong in error.errors(include_url=False, include_context=False):
        field = str(wrong["loc"][0])
        description = Settings.model_fields[field].description
        value = _shown(wrong["input"])
        yield f"{PREFIX}{field.upper()}={value} cannot be used: {wrong['msg']} ({description})"


def _shown(value: object) -> str:
    """A value on one line, and not at length."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
