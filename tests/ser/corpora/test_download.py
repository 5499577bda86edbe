"""Downloads of a corpus: complete, verified and resumable."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from temporal_shift.ser.corpora import read_corpus
from temporal_shift.ser.corpora.download import download, downloaded
from temporal_shift.ser.corpora.download.sources import SOURCES, DownloadableCorpus
from temporal_shift.ser.utils.errors import RecipeError
from temporal_shift.ser.utils.folder_lock import only_command_in

from ..archives import zip_of, zipped
from ..corpus_trees import noise, write_cremad, write_emodb, write_nemo, write_ravdess, write_subesco
from ..faults import file_size_limit
from ..loopback import Loopback, serving

SMALL = {"W": 10, "F": 10}  # utterances of EmoDB by the letter of their emotion
CUT = 100_000  # bytes, in the middle of the archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> bytes:
    """A zip archive with twenty recordings of EmoDB's names, and a file of 200 kB that does not compress."""
    root = tmp_path_factory.mktemp("emodb")
    write_emodb(root, SMALL)
    (root / "erkennung.txt").write_bytes(random.Random(0).randbytes(200_000))
    return zipped(root)


@pytest.fixture
def server(archive, monkeypatch) -> Iterator[Loopback]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(archive) as loopback:
        yield loopback


def emodb(server: Loopback, checksum: str | None = None) -> DownloadableCorpus:
    return replace(SOURCES["emodb"], url=server.url, checksum=checksum)


def fetch(corpus: DownloadableCorpus, folder: Path) -> None:
    download(corpus, folder, lambda done, total: None, wait=0)


def error_of(corpus: DownloadableCorpus, folder: Path) -> str:
    """The error of the download. It leaves at most its hidden folder."""
    with pytest.raises(RecipeError) as raised:
        fetch(corpus, folder)
    assert {path.name for path in folder.parent.iterdir()} <= {f".{folder.name}.download"}
    return str(raised.value)


def starts(server: Loopback) -> list[int]:
    """The first requested byte of each request."""
    asked = [request.get("Range", "bytes=0-") for request in server.requests]
    return [int(each.removeprefix("bytes=").removesuffix("-")) for each in asked]


def sha256_in(folder: Path) -> str:
    return json.loads((folder / "download.json").read_text())["sha256"]


WRITTEN = {  # function that writes the files, their folder in the archive, number of speakers, some classes
    "emodb": (lambda root: write_emodb(root, SMALL), "", 10, {"angry", "happy"}),
    "ravdess": (lambda root: write_ravdess(root, (1, 2, 3, 4, 5)), "", 5, {"calm", "sad"}),
    "crema-d": (
        lambda root: write_cremad(root, range(1001, 1006), whole=False),
        "crema-d-mirror-main-AudioWAV/",
        5,
        {"neutral"},
    ),
    "nemo": (write_nemo, "nEMO-main/", 9, {"anger", "surprised"}),
    "subesco": (write_subesco, "SUBESCO/", 5, {"ANGRY", "SURPRISE"}),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_corpus_is_read_from_an_archive_of_its_layout(tmp_path, monkeypatch, name):
    write, top, speakers, classes = WRITTEN[name]
    write(tmp_path / "tree")
    content = zipped(tmp_path / "tree", top)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(content) as server:
        checksum = SOURCES[name].checksum and f"md5:{hashlib.md5(content).hexdigest()}"
        size = SOURCES[name].size and len(content)
        corpus = replace(SOURCES[name], url=server.url, checksum=checksum, size=size)
        fetch(corpus, tmp_path / "corpora" / name)
    manifest = read_corpus(corpus.settings(tmp_path / "corpora" / name))
    assert len({utterance.speaker for utterance in manifest.utterances}) == speakers
    assert classes <= {utterance.label for utterance in manifest.utterances}
    assert [path.name for path in (tmp_path / "corpora").iterdir()] == [name]


def test_the_record_has_the_origin_of_the_files(server, tmp_path):
    fetch(emodb(server), tmp_path / "emodb")
    record = json.loads((tmp_path / "emodb" / "download.json").read_text())
    assert record["url"] == server.url
    assert record["sha256"] == hashlib.sha256(server.content).hexdigest()
    assert record["published_checksum"] is None
    assert "CC0" in record["licence"]
    assert record["files"] == sum(path.is_file() for path in (tmp_path / "emodb").rglob("*")) - 1


def test_a_complete_folder_is_not_downloaded_again(server, tmp_path):
    fetch(emodb(server), tmp_path / "emodb")
    fetch(emodb(server), tmp_path / "emodb")
    assert len(server.requests) == 1
    assert downloaded(emodb(server), tmp_path / "emodb").corpus == "emodb"


def test_an_empty_folder_is_filled(server, tmp_path):
    (tmp_path / "emodb").mkdir()
    fetch(emodb(server), tmp_path / "emodb")
    assert (tmp_path / "emodb" / "wav" / "03a01Fa.wav").exists()


@pytest.mark.parametrize("content", ["file", "folder", "other corpus"])
def test_existing_files_are_not_replaced(server, tmp_path, content):
    folder = tmp_path / "emodb"
    if content == "file":
        folder.write_text("mine")
    elif content == "folder":
        (folder / "mine").mkdir(parents=True)
    else:
        fetch(replace(emodb(server), name="nemo"), folder)
        server.requests.clear()
    with pytest.raises(RecipeError, match=r"new or empty, got .*emodb.*(mine|nemo|)") as raised:
        fetch(emodb(server), folder)
    assert str(folder) in str(raised.value)
    assert server.requests == []
    assert folder.is_file() if content == "file" else any(folder.iterdir())


def test_the_next_command_continues_an_interrupted_download(server, tmp_path):
    server.cuts, server.afterwards = [CUT], [lambda: server.statuses.extend([503] * 5)]
    message = error_of(emodb(server), tmp_path / "emodb")
    assert "503" in message
    server.requests.clear()
    fetch(emodb(server), tmp_path / "emodb")
    (start,) = starts(server)
    assert 0 < start <= CUT
    assert f"after {start} bytes" in message
    assert server.requests[0]["If-Range"] == '"first"'
    assert sha256_in(tmp_path / "emodb") == hashlib.sha256(server.content).hexdigest()


def test_a_lost_connection_with_new_bytes_is_retried(server, tmp_path):
    server.cuts = [25_000] * 7
    fetch(emodb(server), tmp_path / "emodb")
    assert starts(server) == sorted({*starts(server)})
    assert len(server.requests) == 8
    assert sha256_in(tmp_path / "emodb") == hashlib.sha256(server.content).hexdigest()


def test_a_server_without_ranges_sends_all_of_it_again(server, tmp_path):
    server.ranges, server.cuts = False, [CUT]
    fetch(emodb(server), tmp_path / "emodb")
    assert len(server.requests) == 2
    assert sha256_in(tmp_path / "emodb") == hashlib.sha256(server.content).hexdigest()


@pytest.mark.parametrize("says", ["etag", "modified"])
def test_a_changed_file_is_downloaded_from_the_start(server, tmp_path, says):
    def change() -> None:
        server.content = archive
        setattr(server, says, '"second"')

    archive, server.content, server.etag = server.content, bytes(len(server.content)), None
    setattr(server, says, '"first"')
    server.cuts, server.afterwards = [CUT], [change]
    fetch(emodb(server), tmp_path / "emodb")
    assert [request.get("If-Range") for request in server.requests] == [None, '"first"']
    assert sha256_in(tmp_path / "emodb") == hashlib.sha256(archive).hexdigest()


def test_without_a_checksum_and_a_version_from_the_server_a_download_starts_again(server, tmp_path):
    server.etag, server.cuts = None, [CUT]
    fetch(emodb(server), tmp_path / "emodb")
    assert starts(server) == [0, 0]
    server.cuts, checksum = [CUT], f"sha256:{hashlib.sha256(server.content).hexdigest()}"
    server.requests.clear()
    fetch(emodb(server, checksum), tmp_path / "verified")
    assert starts(server)[0] == 0 < starts(server)[1]


def test_a_partial_file_longer_than_the_servers_is_discarded(server, tmp_path):
    server.content, archive = server.content * 3, server.content
    server.etag, server.cuts = None, [len(archive) * 2]
    server.afterwards = [lambda: setattr(server, "content", archive)]
    fetch(emodb(server, f"sha256:{hashlib.sha256(archive).hexdigest()}"), tmp_path / "emodb")
    assert [bool(start) for start in starts(server)] == [False, True, False]


def test_a_part_that_begins_elsewhere_is_not_appended(server, tmp_path):
    server.cuts, server.wrong_parts = [CUT], 1
    fetch(emodb(server), tmp_path / "emodb")
    assert [bool(start) for start in starts(server)] == [False, True, False]
    assert sha256_in(tmp_path / "emodb") == hashlib.sha256(server.content).hexdigest()


def test_a_wrong_checksum_is_an_error_and_deletes_the_file(server, tmp_path):
    message = error_of(emodb(server, "md5:0123456789abcdef0123456789abcdef"), tmp_path / "emodb")
    assert server.url in message
    assert "md5:0123456789abcdef0123456789abcdef" in message
    assert list(tmp_path.iterdir()) == []
    fetch(emodb(server), tmp_path / "emodb")
    assert len(server.requests) == 2


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (500, 5), (429, 5)])
def test_there_are_five_attempts_after_temporary_errors_and_one_after_others(server, tmp_path, status, requests):
    server.statuses = [status] * 9
    message = error_of(emodb(server), tmp_path / "emodb")
    assert server.url in message
    assert str(status) in message
    assert (SOURCES["emodb"].page in message) == (requests == 1)
    assert len(server.requests) == requests
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_server_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(b"") as server:
        pass
    assert server.url in error_of(emodb(server), tmp_path / "emodb")


@pytest.mark.parametrize(
    "location",
    [None, "ftp://127.0.0.1/corpus.zip", "file:///etc/passwd", "http://[", f"http://{'a' * 70}.example/"],
    ids=["loop", "ftp", "file", "bracket", "long-host"],
)
def test_a_redirect_to_an_address_that_cannot_be_used_is_tried_once(server, tmp_path, location):
    server.location = location or server.url
    message = error_of(emodb(server), tmp_path / "emodb")
    assert f"{server.url} redirects to" in message
    assert repr(server.location)[:40] in message
    assert SOURCES["emodb"].page in message
    assert len(server.requests) == (31 if location is None else 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("content_type", "kind"), [("text/html; charset=utf-8", "a web page"), (None, "another file")])
def test_a_web_page_is_an_error_that_says_so(server, tmp_path, content_type, kind):
    server.content, server.content_type = b"<!DOCTYPE html><html>Please log in.</html>", content_type
    message = error_of(emodb(server, None if content_type is None else "md5:0"), tmp_path / "emodb")
    assert f"{server.url} must be a zip archive, got {kind}" in message
    assert SOURCES["emodb"].page in message
    assert list(tmp_path.iterdir()) == []


def test_a_web_page_does_not_replace_a_partial_download(server, tmp_path):
    def log_out() -> None:
        server.etag, server.content_type = '"page"', "text/html"

    server.cuts, server.afterwards = [CUT], [log_out]
    assert "web page" in error_of(emodb(server), tmp_path / "emodb")
    server.etag, server.content_type = '"first"', None
    server.requests.clear()
    fetch(emodb(server), tmp_path / "emodb")
    assert starts(server)[0] > 0


def test_a_wrong_size_is_an_error_before_the_download(server, tmp_path):
    size = len(server.content)
    message = error_of(replace(emodb(server), size=size + 1), tmp_path / "emodb")
    assert f"{size + 1} bytes, got {size}" in message
    assert SOURCES["emodb"].page in message
    assert list(tmp_path.iterdir()) == []
    fetch(replace(emodb(server), size=size), tmp_path / "emodb")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"readme.txt": b"moved"}, "no recordings"),
        ({"x/y.wav": noise()}, "y.wav"),
        ({"wav/03a01Fa.wav": b"RIFF"}, "emodb/03a01Fa.wav cannot be read"),
    ],
)
def test_an_archive_that_is_not_the_corpus_leaves_nothing_and_is_downloaded_again(server, tmp_path, files, reason):
    archive, server.content = server.content, zip_of(files)
    message = error_of(emodb(server), tmp_path / "emodb")
    assert all(text in message for text in (server.url, SOURCES["emodb"].page, reason))
    assert list(tmp_path.iterdir()) == []
    server.content = archive
    fetch(emodb(server), tmp_path / "emodb")
    assert len(server.requests) == 2


def truncated(archive: bytes) -> bytes:
    return archive[: len(archive) // 2]


def with_other_bytes(archive: bytes) -> bytes:
    place = archive.index(b"RIFF") + 100
    return archive[:place] + bytes([archive[place] ^ 255]) + archive[place + 1 :]


BAD = {
    "truncated": truncated,
    "other-bytes": with_other_bytes,
    "page": lambda _: b"<html>Please log in.</html>",
    "nothing": lambda _: zip_of({}),
    "parent": lambda _: zip_of({"wav/03a01Fa.wav": noise(), "../x.wav": b"x"}),
    "parent-inside": lambda _: zip_of({"wav/03a01Fa.wav": noise(), "wav/../../x.wav": b"x"}),
    "absolute": lambda _: zip_of({"wav/03a01Fa.wav": noise(), "/tmp/x.wav": b"x"}),
    "drive": lambda _: zip_of({"C:/x.wav": b"x"}),
    "backslash": lambda _: zip_of({"wav\\x.wav": b"x"}),
    "device": lambda _: zip_of({"wav/CON.wav": b"x"}),
    "case": lambda _: zip_of({"wav/x.wav": b"x", "wav/X.WAV": b"x"}),
    "file-and-folder": lambda _: zip_of({"wav": b"x", "wav/x.wav": b"x"}),
    "link": lambda _: zip_of({"wav/x.wav": b"/etc/passwd"}, mode=0o120777),
    "encrypted": lambda _: zip_of({"wav/x.wav": b"x"}, flags=1),
    "bomb": lambda _: zip_of({"wav/x.wav": bytes(1 << 23)}),
    "record": lambda _: zip_of({"download.json": b"{}", "wav/x.wav": b"x"}),
}


@pytest.mark.parametrize("kind", BAD)
def test_an_archive_that_is_damaged_or_hostile_leaves_nothing_and_is_downloaded_again(server, tmp_path, kind):
    archive, server.content = server.content, BAD[kind](server.content)
    message = error_of(emodb(server), tmp_path / "inside" / "emodb")
    assert server.url in message
    assert list(tmp_path.rglob("*.wav")) == []
    server.content = archive
    fetch(emodb(server), tmp_path / "inside" / "emodb")
    assert len(server.requests) == 2


def test_a_truncated_archive_of_unknown_length_is_detected(server, tmp_path):
    server.states_length, server.cuts = False, [len(server.content) // 2]
    assert "cannot be unpacked" in error_of(emodb(server), tmp_path / "emodb")
    fetch(emodb(server), tmp_path / "emodb")


def test_files_of_file_managers_in_archives_are_skipped(server, tmp_path):
    server.content = zip_of({"__MACOSX/wav/._x.wav": b"x", "wav/.DS_Store": b"x", "wav/03a01Fa.wav": noise()})
    fetch(emodb(server), tmp_path / "emodb")
    assert {path.name for path in (tmp_path / "emodb").iterdir()} == {"03a01Fa.wav", "download.json"}


def test_a_full_disk_keeps_the_partial_download(server, tmp_path):
    with file_size_limit(CUT):
        message = error_of(emodb(server), tmp_path / "emodb")
    assert str(tmp_path / "emodb") in message
    assert "continues" in message
    fetch(emodb(server), tmp_path / "emodb")
    assert starts(server) == [0, CUT]


def test_a_full_disk_while_unpacking_leaves_no_partial_corpus_and_keeps_the_archive(server, tmp_path):
    server.content = zip_of({"wav/03a01Fa.wav": noise(), "erkennung.txt": b"text " * 20_000})
    assert len(server.content) < 50_000
    with file_size_limit(50_000):
        message = error_of(emodb(server), tmp_path / "emodb")
    assert "continues" in message
    fetch(emodb(server), tmp_path / "emodb")
    assert len(server.requests) == 1


def test_too_little_space_is_an_error_before_the_download(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    message = error_of(emodb(server), tmp_path / "emodb")
    assert "0.0 MB" in message
    assert [path.name for path in tmp_path.rglob("*.*") if path.suffix in (".part", ".zip")] == []


KILLED = """
import os, shutil, signal, sys
from dataclasses import replace
from pathlib import Path
from temporal_shift.ser.corpora.download import download
from temporal_shift.ser.corpora.download.sources import SOURCES

copied, copy = [], shutil.copyfileobj

def copy_ten(*arguments):
    copied.append(copy(*arguments))
    if len(copied) == 10:
        os.kill(os.getpid(), signal.SIGKILL)

shutil.copyfileobj = copy_ten
download(replace(SOURCES["emodb"], url=sys.argv[1]), Path(sys.argv[2]), lambda done, total: None)
"""


def test_a_command_killed_while_unpacking_leaves_no_partial_corpus(server, tmp_path):
    command = [sys.executable, "-c", KILLED, server.url, str(tmp_path / "emodb")]
    assert subprocess.run(command).returncode == -9
    assert not (tmp_path / "emodb").exists()
    assert len(list(tmp_path.glob(".emodb.download/unpacked/**/*.*"))) == 10
    fetch(emodb(server), tmp_path / "emodb")
    assert len(server.requests) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["emodb"]
    assert len(list((tmp_path / "emodb" / "wav").iterdir())) == 20


def test_two_commands_do_not_download_to_one_folder(server, tmp_path):
    with only_command_in(tmp_path / ".emodb.download"):
        assert str(tmp_path) in error_of(emodb(server), tmp_path / "emodb")
    assert server.requests == []
