"""The content coding of a body: as it is, or gzip, inflated within the limit of bodies."""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator

from service.errors import MalformedBody, PayloadTooLarge, UnsupportedMediaType

_GZIP = ("gzip", "x-gzip")
_PIECE = 2**18
"""Bytes that are inflated before others have their turn."""


def decoded(
    chunks: AsyncGenerator[bytes, None], coding: str, max_bytes: int
) -> AsyncGenerator[bytes, None]:
    """The body as it was before it was coded. Raises UnsupportedMediaType for other codings.

    To read it raises MalformedBody if it is no gzip, or not whole, and PayloadTooLarge.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return chunks
    if coding not in _GZIP:
        raise UnsupportedMediaType(
            f"content encoding {coding[:80]!r}: accepted are gzip, and none at all"
        )
    return _inflated(chunks, max_bytes)


async def _inflated(chunks: AsyncIterator[bytes], max_bytes: int) -> AsyncGenerator[bytes, None]:
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    num_bytes = 0
    async for chunk in chunks:
        while chunk and not inflater.eof:
            try:
                piece = inflater.decompress(chunk, _PIECE)
            except zlib.error as error:
                raise MalformedBody(f"not gzip: {error}") from error
            chunk = inflater.unconsumed_tail
            num_bytes += len(piece)
            if num_bytes > max_bytes:
                raise PayloadTooLarge(
                    f"accepted are bodies of at most {max_bytes} bytes once they are inflated"
                )
            yield piece
            await asyncio.sleep(0)
        if inflater.eof and (chunk or inflater.unused_data):
            raise MalformedBody("not gzip: something follows its end")
    if not inflater.eof:
        raise MalformedBody("not gzip: it ends early")
