"""Multipart forms, in memory: the body limit bounds them, and nothing is written to disk."""

from collections.abc import AsyncGenerator

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from service.errors import InvalidRequest, MalformedBody, UnsupportedMediaType

_MAX_FIELDS = 100
_FILES = ("files", "file")
"""Names of fields that hold files."""


class _Parser(MultiPartParser):
    """Starlette's, without temporary files, and which knows whether the form was whole."""

    spool_max_size = 0  # of a SpooledTemporaryFile: stay in memory whatever the size
    is_whole = False

    def on_end(self) -> None:
        self.is_whole = True

    def close(self) -> None:
        """Let go of all files, those too whose part has not ended."""
        for file in self._files_to_close_on_error:
            file.close()


async def read_form(
    headers: Headers, chunks: AsyncGenerator[bytes, None], max_files: int
) -> tuple[list[bytes], dict[str, str]]:
    """The files of a form, and its text fields. `max_files` and one more are read.

    Raises UnsupportedMediaType for text that is not UTF-8, MalformedBody for what is no form or
    ends early, and InvalidRequest for fields that are files and ought not to be, or the reverse.
    """
    _, options = parse_options_header(headers["content-type"])
    charset = options.get(b"charset", b"utf-8").lower()
    if charset not in (b"utf-8", b"utf8", b"us-ascii"):
        raise UnsupportedMediaType("a form in another charset: accepted is utf-8")
    # One more than accepted, so that the refusal comes from us and says the limit.
    parser = _Parser(headers, chunks, max_files=max_files + 1, max_fields=_MAX_FIELDS)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise MalformedBody(f"not multipart/form-data: {error.message}") from error
    try:
        if not parser.is_whole:
            raise MalformedBody("the form ends before its closing boundary: a file may be missing")
        return await _sorted(form)
    finally:
        parser.close()


async def _sorted(form: FormData) -> tuple[list[bytes], dict[str, str]]:
    files: list[bytes] = []
    text: dict[str, str] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name in _FILES:
            files.append(await value.read())
        elif isinstance(value, UploadFile) or name in _FILES:
            raise InvalidRequest(f"{name[:64]}: accepted are files named files, and text fields")
        elif name in text:
            raise InvalidRequest(f"{name[:64]} is given twice")
        else:
            text[name] = value
    return files, text
