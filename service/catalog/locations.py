"""Where bundles lie: folders on disk, or in any storage that fsspec knows."""

from collections.abc import Iterator

import fsspec


def folder_of(url: str) -> str:
    """The last part of a bundle's place, which is its name as long as nobody renamed it."""
    return url.rstrip("/").rpartition("/")[2]


def bundles_at(url: str) -> Iterator[str]:
    """The URL itself if it is a bundle, or else those directly below it.

    Raises ValueError if there is none, OSError if the place cannot be read.
    """
    files, root = fsspec.core.url_to_fs(url)
    if files.exists(f"{root}/bundle.json"):
        yield url
        return
    bundles = [
        f"{url.rstrip('/')}/{name}"
        for path in sorted(files.ls(root, detail=False))
        if not (name := path.rstrip("/").rpartition("/")[2]).startswith(".")
        and files.exists(f"{path}/bundle.json")
    ]
    if not bundles:
        raise ValueError(f"{url} holds no bundle")
    yield from bundles
