"""Requests that the demo's page does not make, and uploads beyond the limits, get an error status."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
import soundfile

from temporal_shift.ser.inference import demo, demo_gate
from temporal_shift.ser.inference.recognizer import Recognizer

from ..small_model import local_model
from .test_speech_stream import noise

pytest.importorskip("gradio")

from starlette.testclient import TestClient  # a dependency of gradio, so imported after importorskip

from temporal_shift.ser.inference.demo_server import Access, application

pytestmark = pytest.mark.usefixtures("one_thread")

OWN = "http://127.0.0.1:7860"
PAGE = {"origin": OWN, "sec-fetch-site": "same-origin"}


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """The demo of a tiny model, without examples."""
    folder = tmp_path_factory.mktemp("uploads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", os.environ.copy())
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        yield application([("Shifted", Recognizer(local_model()))], [], Access("127.0.0.1", 7860), folder)


@pytest.fixture(scope="module")
def client(gate):
    with TestClient(gate, base_url=OWN) as client:
        yield client


@pytest.fixture
def sound(tmp_path) -> bytes:
    soundfile.write(tmp_path / "said.wav", noise(8000), 16000)
    return (tmp_path / "said.wav").read_bytes()


def upload(client: TestClient, content: bytes, name: str = "said.wav", **headers: str):
    return client.post("/gradio_api/upload", files={"files": (name, content)}, headers={**PAGE, **headers})


def event(**changed: object) -> str:
    return json.dumps({"session_hash": "abc123", "fn_index": 0, "data": [None], **changed})


def test_the_page_and_its_uploads_are_answered_with_headers_against_framing_and_foreign_content(client, sound):
    page = client.get("/")
    assert page.status_code == 200
    assert "Shifted" in page.text
    (path,) = upload(client, sound).json()
    file = client.get(f"/gradio_api/file={path}")
    assert file.content == sound
    for answer in (page, file, client.get("/none")):
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'; " in policy
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "10.0.0.1:7860", "", "[", "127.0.0.1:x", "é"],
)
def test_requests_to_other_host_names_are_refused(client, host):
    """Under DNS rebinding, evil.example resolves to 127.0.0.1, so its requests are of the same origin."""
    for answer in (
        client.get("/", headers={"host": host.encode()}),
        client.post("/gradio_api/upload", headers={"host": host.encode(), "origin": f"http://{host}".encode()}),
    ):
        assert answer.status_code == 421
        assert "Shifted" not in answer.text


def test_host_names_of_this_machine_are_accepted(client):
    for host in ("127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860"):
        assert client.get("/", headers={"host": host}).status_code == 200
    everywhere = Access("0.0.0.0", 7860, names=["demo.example"])
    assert {"demo.example", "localhost", "0.0.0.0"} <= everywhere.hosts()
    assert [Access(host, 1).is_local for host in ("127.0.0.1", "127.3.2.1", "::1", "localhost")] == [True] * 4
    assert [Access(host, 1).is_local for host in ("0.0.0.0", "::", "192.168.0.2", "example.org")] == [False] * 4


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "http://127.0.0.1:9999"},  # a page of another server on this machine
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_page_can_neither_upload_nor_predict(client, sound, headers):
    assert upload(client, sound, **headers).status_code == 403
    for path in ("/gradio_api/queue/join", "/gradio_api/cancel", "/login"):
        assert client.post(path, content=event(), headers={**PAGE, **headers}).status_code == 403
    assert client.get("/gradio_api/queue/data?session_hash=abc123", headers={**PAGE, **headers}).status_code == 403


def test_a_link_to_the_page_works(client):
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/theme.css", headers=link).status_code == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/proxy=http://example.org/"),
        ("GET", "/gradio_api/file=http://example.org/a.wav"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/gradio_api/file=../../etc/passwd"),
        ("GET", "/gradio_api/file=%2e%2e/%2e%2e/etc/passwd"),
        ("GET", "/gradio_api/file=FOLDER/../../../../../../../etc/passwd"),
        ("GET", "/gradio_api/file=FOLDER"),
        ("GET", "/gradio_api/file=%00"),
        ("GET", "/gradio_api/file=" + "a" * 5000),
        ("GET", "/static/..%2f..%2fpackage.json"),
        ("GET", "/assets/%2e%2e/%2e%2e/%2e%2e/routes.py"),
        ("GET", "/static//etc/passwd"),
        ("GET", "/static/" + "a/" * 3000),
        ("GET", "/config"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/monitoring"),
        ("GET", "/monitoring/summary"),
        ("GET", "/gradio_api/info"),
        ("GET", "/gradio_api/openapi.json"),
        ("GET", "/gradio_api/mcp/sse"),
        ("GET", "/gradio_api/deep_link?session_hash=abc123"),
        ("GET", "/gradio_api/queue/data"),
        ("GET", "/gradio_api/queue/data?session_hash=unknown"),
        ("GET", "/gradio_api/queue/data?session_hash=../../x"),
        ("POST", "/gradio_api/run/predict"),
        ("POST", "/gradio_api/call/answer_to_file"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/vibe-edit"),
        ("POST", "/"),
        ("PUT", "/gradio_api/upload"),
        ("DELETE", "/"),
        ("OPTIONS", "/gradio_api/upload"),
        ("TRACE", "/"),
    ],
)
def test_routes_that_the_page_does_not_use_are_refused(gate, client, capfd, method, path):
    answer = client.request(method, path.replace("FOLDER", str(gate.folder)), headers=PAGE)
    assert 400 <= answer.status_code < 500
    assert "root:" not in answer.text
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 50_000,
        b"\xff\xfe",
        b"null",
        b'{"data": [NaN], "fn_index": 0, "session_hash": "abc123"}',
        event(fn_index=99),
        event(fn_index=-1),
        event(fn_index="0"),
        event(fn_index=True),
        event(fn_index=2),  # the page without examples has no such event
        event(data=[]),
        event(data=[None, None]),
        event(data=None),
        event(data={"0": None}),
        event(data=["/etc/passwd"]),
        event(data=[{"path": "/etc/passwd"}]),
        event(data=[{"path": "http://example.org/a.wav", "url": "http://example.org/a.wav"}]),
        event(data=[{"path": ["a"]}]),
        event(data=[{"url": "http://example.org/a.wav"}]),
        event(data=[{"path": "\0"}]),
        event(session_hash="../../x"),
        event(session_hash=None),
        event(session_hash=5),
    ],
)
def test_an_event_that_the_page_cannot_send_is_refused(client, capfd, body):
    answer = client.post("/gradio_api/queue/join", content=body, headers={**PAGE, "content-type": "application/json"})
    assert answer.status_code == 400
    assert "Traceback" not in capfd.readouterr().err


def test_odd_fields_of_a_valid_event_change_nothing(client, sound, capfd):
    (path,) = upload(client, sound).json()
    file = {"path": path, "size": "large", "orig_name": {}, "is_stream": True, "meta": 7, "url": "http://example.org"}
    body = event(data=[file], event_data=9, trigger_id="x", event_id={}, batched=True)
    headers = {**PAGE, "content-type": "application/json"}
    assert client.post("/gradio_api/queue/join", content=body, headers=headers).status_code == 200
    said = client.get("/gradio_api/queue/data?session_hash=abc123", headers=PAGE).text
    assert "s of sound" in said
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "multipart/form-data"}, b"no boundary"),
        ({"content-type": "multipart/form-data; boundary=x"}, b"garbage"),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--x\r\nno header\r\n\r\n--x--"),
        (
            {"content-type": "multipart/form-data; boundary=x"},
            b"--x\r\ncontent-disposition: form-data\r\n\r\na\r\n--x--",
        ),
        ({"content-type": "application/json"}, b"{}"),
        ({}, b""),
    ],
)
def test_an_upload_that_is_not_a_form_is_refused(client, capfd, headers, body):
    answer = client.post("/gradio_api/upload", content=body, headers={**PAGE, **headers})
    assert 400 <= answer.status_code < 500
    assert "Traceback" not in capfd.readouterr().err


def test_the_name_of_an_upload_cannot_be_a_path(gate, client, sound):
    for name in ("../../../evil.wav", "/etc/evil.wav", "..\\..\\evil.wav", "a\x00b.wav", "n" * 400 + ".wav"):
        answer = upload(client, sound, name)
        if answer.status_code == 200:
            assert Path(answer.json()[0]).resolve().is_relative_to(gate.folder)
        else:
            assert 400 <= answer.status_code < 500


def test_space_for_uploads_is_limited_per_upload_and_in_total(gate, client, sound, monkeypatch):
    monkeypatch.setattr(demo_gate, "UPLOAD_BYTES", 5000)
    assert upload(client, bytes(6000)).status_code == 413

    def unstated():  # sent in chunks, without the header Content-Length
        yield b'--x\r\ncontent-disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
        yield from [bytes(1000)] * 9

    headers = {**PAGE, "content-type": "multipart/form-data; boundary=x"}
    assert client.post("/gradio_api/upload", content=unstated(), headers=headers).status_code == 413
    monkeypatch.setattr(demo_gate, "UPLOAD_BYTES", 2**20)
    monkeypatch.setattr(demo_gate, "TOTAL_BYTES", 40_000)
    (gate.folder / "left.bin").write_bytes(bytes(35_000))
    assert upload(client, sound).status_code == 507
    os.utime(gate.folder / "left.bin", (0, 0))  # old files are deleted first
    monkeypatch.setattr(demo_gate, "TOTAL_BYTES", 400_000)
    assert upload(client, sound).status_code == 200
    assert not (gate.folder / "left.bin").exists()
    assert client.post("/gradio_api/queue/join", content=bytes(70_000), headers=PAGE).status_code == 413


def test_a_full_queue_refuses_recordings(client, sound, monkeypatch):
    (path,) = upload(client, sound).json()
    done, headers = threading.Event(), {**PAGE, "content-type": "application/json"}
    monkeypatch.setattr(demo, "answer_to", lambda *arguments: (str(done.wait(20)), None))
    body = event(data=[{"path": path}])
    found = [client.post("/gradio_api/queue/join", content=body, headers=headers).status_code for _ in range(20)]
    done.set()
    assert found[:16] == [200] * 16
    assert found[-1] == 503


def test_every_route_requires_the_password(gate, monkeypatch):
    monkeypatch.setattr(gate, "auth", "anna:päss:word")
    client = TestClient(gate, base_url=OWN)
    for path in ("/", "/theme.css", "/gradio_api/queue/data?session_hash=abc123"):
        answer = client.get(path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
    assert client.post("/gradio_api/upload", headers=PAGE).status_code == 401
    assert client.get("/", auth=(b"anna", "päss:word".encode())).status_code == 200
    for wrong in ("Basic", "Basic !", "Bearer x", "Basic YW5uYTp4"):
        assert client.get("/", headers={"authorization": wrong}).status_code == 401
