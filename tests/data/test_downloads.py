"""Downloads, from a server on this machine: what is right is kept, what is not leaves nothing."""

from __future__ import annotations

import gzip
import hashlib
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fresh_python
import numpy as np
import pytest

from softstep.data import MNIST, DownloadError, FashionMNIST, load_mnist
from softstep.data.downloads import PublishedFile

NAMES = [f"{p}-{k}" for p in ("train", "t10k") for k in ("images-idx3-ubyte", "labels-idx1-ubyte")]

# The md5 of the published files, from the data sets' pages; the package holds their SHA-256.
PUBLISHED_SIZES = {
    MNIST: (9_912_422, 28_881, 1_648_877, 4_542),
    FashionMNIST: (26_421_880, 29_515, 4_422_102, 5_148),
}


class Server:
    """Serves `files`; a function is given the request to answer."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.lstrip("/")
                owner.asked.append(name)
                content = owner.files.get(name)
                if content is None:
                    self.send_error(404)
                elif callable(content):
                    content(self)
                else:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *arguments: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = False  # so that closing the server waits for answers
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def server(tmp_path: Path, small_mnist: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A mirror with small files, which FashionMNIST takes for the published ones."""
    pytest.importorskip("pooch")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    small_mnist(tmp_path / "made", compress=True)
    found = Server()
    for name in NAMES:
        found.files[f"{name}.gz"] = (tmp_path / "made" / f"{name}.gz").read_bytes()
    published = {
        name: PublishedFile(len(content), hashlib.sha256(content).hexdigest())
        for name in NAMES
        if isinstance(content := found.files[f"{name}.gz"], bytes)
    }
    for owner in (MNIST, FashionMNIST):
        monkeypatch.setattr(owner, "mirror", found.address)
        monkeypatch.setattr(owner, "published", published)
    yield found
    found.close()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_published_files() -> None:
    """Each is named by size and SHA-256, and no two are the same."""
    hashes = set()
    for owner, sizes in PUBLISHED_SIZES.items():
        assert tuple(owner.published) == tuple(NAMES)
        assert tuple(file.size for file in owner.published.values()) == sizes
        for file in owner.published.values():
            assert len(bytes.fromhex(file.sha256)) == 32
            hashes.add(file.sha256)
    assert len(hashes) == 8
    assert MNIST.mirror == "https://ossci-datasets.s3.amazonaws.com/mnist/"
    assert FashionMNIST.mirror == "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"


def test_right_files(server: Server, tmp_path: Path, no_places: Path) -> None:
    data = FashionMNIST(root=tmp_path / "root", download=True)
    assert (len(data.train), len(data.val)) == (50, 20)
    folder = tmp_path / "root" / "fashion-mnist"
    assert left(tmp_path / "root") == sorted(f"{name}.gz" for name in NAMES)
    assert data.files["train-labels-idx1-ubyte"].parent == folder
    assert sorted(server.asked) == left(folder)
    # What is there is not asked for again; without download= it is found, too.
    assert len(FashionMNIST(root=tmp_path / "root", download=True).train) == 50
    assert len(FashionMNIST(root=folder).train) == 50
    assert len(server.asked) == 4
    # Without root they go to the cache.
    FashionMNIST(download=True)
    assert len(left(no_places / "softstep" / "fashion-mnist")) == 4
    assert len(FashionMNIST().val) == 20


def test_only_what_is_lacking_is_fetched(server: Server, tmp_path: Path, small_mnist: Any) -> None:
    small_mnist(tmp_path / "mnist", compress=False)
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    before = (tmp_path / "mnist" / "train-images-idx3-ubyte").read_bytes()
    MNIST(root=tmp_path, val=False, download=True)
    assert server.asked == []
    data = MNIST(root=tmp_path / "mnist", download=True)  # the folder itself
    assert server.asked == ["t10k-labels-idx1-ubyte.gz"]
    assert data.files["t10k-labels-idx1-ubyte"].name.endswith(".gz")
    assert (tmp_path / "mnist" / "train-images-idx3-ubyte").read_bytes() == before


def test_load_mnist_downloads(server: Server, tmp_path: Path) -> None:
    (x, t), _ = load_mnist(root=tmp_path, download=True, one_hot_label=True)
    assert x.shape == (50, 784)
    assert t.shape == (50, 10)


def refused(server: Server, folder: Path, message: str) -> None:
    """The labels of the training images do not come, and nothing of them stays."""
    with pytest.raises(DownloadError, match=message) as caught:
        FashionMNIST(root=folder, download=True)
    assert f"{server.address}train-labels-idx1-ubyte.gz" in str(caught.value)
    assert str(folder / "fashion-mnist") in str(caught.value)
    assert left(folder / "fashion-mnist") == ["train-images-idx3-ubyte.gz"]  # the one before
    with pytest.raises(FileNotFoundError, match="lacks train-labels-idx1-ubyte"):
        FashionMNIST(root=folder)


NAME = "train-labels-idx1-ubyte.gz"


def test_wrong_file(server: Server, tmp_path: Path) -> None:
    content = server.files[NAME]
    assert isinstance(content, bytes)
    server.files[NAME] = content[:-1] + bytes([content[-1] ^ 1])
    refused(server, tmp_path, "is not the published file: its SHA-256 is another; what came was")
    # The next try, with the right file, goes on from there.
    server.files[NAME] = content
    assert len(FashionMNIST(root=tmp_path, download=True).train) == 50
    assert server.asked.count("train-images-idx3-ubyte.gz") == 1


def test_short_file(server: Server, tmp_path: Path) -> None:
    content = server.files[NAME]
    assert isinstance(content, bytes)
    server.files[NAME] = content[:40]
    refused(server, tmp_path, rf"ended after 40 of {len(content)} bytes; what came was removed")


def test_long_file(server: Server, tmp_path: Path) -> None:
    """Reading stops at the first byte too many: this one never ends."""
    sent = 0

    def endless(request: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        request.send_response(200)
        request.end_headers()
        try:
            while sent < 2**28:
                sent += request.wfile.write(bytes(2**16))
        except OSError:
            return

    server.files[NAME] = endless
    refused(server, tmp_path, r"sends more than the \d+ bytes of the published file")
    assert sent < 2**28


def test_connection_that_breaks(server: Server, tmp_path: Path) -> None:
    content = server.files[NAME]
    assert isinstance(content, bytes)

    def cut(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[:40])

    server.files[NAME] = cut
    refused(server, tmp_path, "cannot be downloaded|ended after 40 of")


def test_encoded_file(server: Server, tmp_path: Path) -> None:
    """A server that calls the file's own compression an encoding does not change what is asked."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        assert request.headers["Accept-Encoding"] == "identity"
        content = gzip.compress(b"something else", mtime=0)
        request.send_response(200)
        request.send_header("Content-Encoding", "gzip")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    server.files[NAME] = answer
    refused(server, tmp_path, "ended after 14 of")


def test_no_such_file(server: Server, tmp_path: Path) -> None:
    del server.files[NAME]
    refused(server, tmp_path, "cannot be downloaded: 404 Client Error")


def test_no_connection(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = server.address
    other = Server()
    other.close()
    monkeypatch.setattr(MNIST, "mirror", other.address)
    with pytest.raises(DownloadError, match=rf"{other.address}.*cannot be downloaded"):
        MNIST(root=tmp_path, download=True)
    assert left(tmp_path / "mnist") == []
    assert address != other.address


def test_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        MNIST(root=tmp_path / "file", download=True)
    assert server.asked == []


def test_without_pooch(tmp_path: Path, no_places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pip install 'softstep\[datasets\]'"):
        MNIST(root=tmp_path, download=True)
    assert left(tmp_path) == []


@pytest.mark.parametrize("wrong", [None, "yes", 1])
def test_download_argument(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(TypeError, match="download must be True or False"):
        MNIST(root=tmp_path, download=wrong)


def test_no_socket_without_download(tmp_path: Path, small_mnist: Any) -> None:
    """RELIABILITY.md, line 25: offline use opens no socket, whether the files are there or not."""
    small_mnist(tmp_path / "mnist")
    code = f"""
    import os, sys
    os.environ.pop("SOFTSTEP_DATA", None)
    os.environ["XDG_CACHE_HOME"] = {str(tmp_path / "cache")!r}
    events = []
    sys.addaudithook(lambda event, args: events.append(event))
    import softstep
    from softstep.data import DataFileError
    data = softstep.MNIST(root={str(tmp_path)!r})
    softstep.Trainer(1).fit(softstep.SoftmaxRegression(10, 0.1), data)
    softstep.load_mnist(root={str(tmp_path)!r})
    softstep.MNIST(root={str(tmp_path)!r}, download=True)  # they are there
    for owner in (softstep.FashionMNIST, softstep.MNIST):
        try:
            owner(root={str(tmp_path / "nowhere")!r})
        except FileNotFoundError as error:
            assert "download=True" in str(error)
        else:
            raise AssertionError(owner)
    assert "open" in events
    assert not [event for event in events if event.startswith(("socket.", "urllib.", "http."))]
    assert "pooch" not in sys.modules and "requests" not in sys.modules
    """
    fresh_python.run(code)


def test_numbers_of_the_small_files(server: Server, tmp_path: Path) -> None:
    """The downloaded images are those that were served."""
    data = MNIST(root=tmp_path, download=True)
    raw = data.arrays(False)
    assert raw is not None
    content = server.files["t10k-images-idx3-ubyte.gz"]
    assert isinstance(content, bytes)
    assert raw[0].tobytes() == gzip.decompress(content)[16:]
    assert np.array_equal(raw[1], np.frombuffer(
        gzip.decompress((tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:], "u1"
    ))  # fmt: skip
