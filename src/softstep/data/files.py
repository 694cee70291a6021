"""Where data files are looked for."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from softstep.data.downloads import PublishedFile, fetch_files

__all__ = ["cache_folder", "find_files", "find_or_fetch"]

_FOLDERS = {"mnist", "fashion-mnist"}  # of data sets whose files have the same names


def cache_folder() -> Path:
    """Return the folder of softstep in the user's cache, which need not exist.

    ``$XDG_CACHE_HOME/softstep`` if that variable is set, else ``~/.cache/softstep``, on macOS
    ``~/Library/Caches/softstep``, on Windows ``%LOCALAPPDATA%/softstep/Cache``.

    Raises
    ------
    RuntimeError
        The user has no home folder.
    """
    chosen = os.environ.get("XDG_CACHE_HOME")
    if chosen and Path(chosen).is_absolute():  # the specification: others are to be ignored
        return Path(chosen) / "softstep"
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "softstep" / "Cache"
    caches = Path("Library", "Caches") if sys.platform == "darwin" else Path(".cache")
    return Path.home() / caches / "softstep"


def find_files(
    title: str, folder: str, names: Sequence[str], root: str | os.PathLike[str] | None
) -> dict[str, Path]:
    """Find the files of a data set, all from the first place that has them all.

    The places are ``root``, ``$SOFTSTEP_DATA`` and the user's cache; in each ``folder`` inside of
    it, then the place itself, unless it has the name of another data set's folder. A file may be
    plain or, with ``.gz`` after its name, compressed; the plain one wins.

    Raises
    ------
    FileNotFoundError
        No place has them all; the message names the files and every place.
    """
    places: list[tuple[str, Path]] = []
    if root is not None:
        places.append(("root", Path(root)))
    if os.environ.get("SOFTSTEP_DATA"):
        places.append(("$SOFTSTEP_DATA", Path(os.environ["SOFTSTEP_DATA"])))
    with contextlib.suppress(RuntimeError):  # no home, no cache
        places.append(("the cache", cache_folder()))
    looked = []
    for place, top in places:
        top = top.expanduser()
        for candidate in (top / folder, top):
            if candidate == top and top.name in _FOLDERS - {folder}:
                looked.append(f"  {top} ({place}): passed over, it is another data set's")
                continue
            found = {name: path for name in names if (path := _file(candidate, name))}
            if len(found) == len(names):
                return found
            lacking = ", ".join(name for name in names if name not in found)
            note = f"lacks {lacking}" if found else "none of them"
            looked.append(f"  {candidate} ({place}): {note}")
    target = places[-1][1] / folder if places else Path(folder)
    raise FileNotFoundError(
        f"{title} files not found. Put {', '.join(names)} (each plain or with .gz) into one "
        f"folder, for example {target}, or name their folder with root= or SOFTSTEP_DATA, "
        "or fetch them with download=True. Looked in:\n" + "\n".join(looked)
    )


def find_or_fetch(
    title: str,
    folder: str,
    names: Sequence[str],
    root: str | os.PathLike[str] | None,
    source: tuple[str, Mapping[str, PublishedFile]] | None,
) -> dict[str, Path]:
    """Find files; download those that are nowhere if there is a source: mirror, published files.

    They go to ``root``, into its ``folder`` unless ``root`` is that folder itself, else to the
    user's cache. Errors as `find_files` and, with a source, `fetch_files`.
    """
    try:
        return find_files(title, folder, names, root)
    except FileNotFoundError:
        if source is None:
            raise
    top = cache_folder() if root is None else Path(root).expanduser()
    itself = top.name == folder or any(_file(top, name) for name in names)
    target = top if itself and top.name not in _FOLDERS - {folder} else top / folder
    fetch_files(source[0], names, source[1], target)
    return find_files(title, folder, names, target)


def _file(folder: Path, name: str) -> Path | None:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    return None
