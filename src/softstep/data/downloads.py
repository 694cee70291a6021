"""Downloads of published files, which are verified before anything opens them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["DownloadError", "PublishedFile", "fetch_files"]

_TIMEOUT = (10, 60)  # seconds to connect, and between two pieces
_PIECE = 1 << 16


class PublishedFile(NamedTuple):
    """What a file is known to be."""

    size: int
    sha256: str


class DownloadError(OSError):
    """A file could not be downloaded, or another file came; the message says which and why."""


def fetch_files(
    mirror: str, names: Sequence[str], published: Mapping[str, PublishedFile], folder: Path
) -> None:
    """Download the files that a folder lacks, each compressed under its name and ``.gz``.

    A file arrives under another name, its size and SHA-256 are compared with the published ones,
    and only then it gets its own. One that is wrong, cut or too long is removed.

    Parameters
    ----------
    mirror : str
        The address of the files, up to their names.
    names : sequence of str
        Names without ``.gz``. What is there already, plain or compressed, is left alone.
    published : mapping of str to PublishedFile
        What the compressed files are.
    folder : path
        Made if need be.

    Raises
    ------
    ImportError
        pooch is not installed.
    DownloadError
        There is no connection or no such file, or the file that came is not the published one.
    OSError
        The folder cannot be written.
    """
    lacking = [
        name
        for name in names
        if not (folder / name).is_file() and not (folder / f"{name}.gz").is_file()
    ]
    if not lacking:
        return
    try:
        import pooch  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        raise ImportError(
            "downloads need pooch, which is not installed: pip install 'softstep[datasets]'"
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    for name in lacking:
        _fetch(pooch, f"{mirror}{name}.gz", f"{name}.gz", published[name], folder)


def _fetch(pooch: Any, url: str, name: str, expected: PublishedFile, folder: Path) -> None:
    import requests  # pooch's own

    receiver = _Receiver(expected.size)
    advice = f"put the file into {folder} by hand, or try again"
    try:
        pooch.retrieve(
            url,
            known_hash=f"sha256:{expected.sha256}",
            fname=name,
            path=folder,
            downloader=receiver,
        )
    except requests.exceptions.RequestException as error:
        raise DownloadError(f"{url} cannot be downloaded: {error}; {advice}") from error
    except _TooLongError:
        raise DownloadError(
            f"{url} sends more than the {expected.size} bytes of the published file; "
            f"what came was removed; {advice}"
        ) from None
    except ValueError:  # pooch: another hash
        reason = (
            f"ended after {receiver.received} of {expected.size} bytes"
            if receiver.received < expected.size
            else "is not the published file: its SHA-256 is another"
        )
        raise DownloadError(f"{url} {reason}; what came was removed; {advice}") from None


class _TooLongError(Exception):
    """More bytes came than the file has."""


class _Receiver:
    """What pooch calls to download; it stops where the published file ends."""

    def __init__(self, size: int) -> None:
        self.size, self.received = size, 0

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        import requests

        # "identity": requests would decompress what a server calls encoded, and change the hash.
        headers = {"Accept-Encoding": "identity"}
        with (
            requests.get(url, headers=headers, timeout=_TIMEOUT, stream=True) as response,
            Path(output_file).open("wb") as file,
        ):
            response.raise_for_status()
            for piece in response.iter_content(_PIECE):
                self.received += len(piece)
                if self.received > self.size:
                    raise _TooLongError
                file.write(piece)
