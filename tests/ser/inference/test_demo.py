"""``temporal-shift ser demo``: the page in a browser."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from temporal_shift.ser.cli import app
from temporal_shift.ser.inference import demo
from temporal_shift.ser.inference.demo_views import Prediction, cards, caveats
from temporal_shift.ser.inference.recognizer import Recognizer, Window
from temporal_shift.ser.utils.plot_style import class_colours

from ..small_model import LABELS, local_model
from .test_speech_stream import noise

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[3]
SAID = next((ROOT / "examples/quickstart/corpus/Session1/sentences/wav").rglob("*.ogg"))
QUIET = (  # the browser's own features must make no requests
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)


@pytest.fixture(scope="module")
def browser():
    """Chromium with a microphone that beeps: ``$CHROMIUM``, the system's Chromium, or Playwright's."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM") or shutil.which("chromium") or playwright.chromium.executable_path
        if not Path(path).exists():
            pytest.skip(f"there is no {path}: apt install chromium, or playwright install chromium")
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory, browser):
    """The address of a demo of two tiny models, which the command started. The demo must leave no files."""
    folder = tmp_path_factory.mktemp("demo")
    local_model().save_pretrained(folder / "Shifted")
    local_model("last").save_pretrained(folder / "Plain")
    (folder / "tmp").mkdir()
    port = free_port()
    command = [sys.executable, "-m", "temporal_shift", "ser", "demo", "--no-browser", "--port", str(port)]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--model", str(folder / "Shifted"), "--baseline", str(folder / "Plain")],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"},
        )
    try:
        deadline = time.monotonic() + 120
        while "Ctrl-C" not in (folder / "log").read_text():
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "the demo did not start"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        assert server.wait(timeout=20) == 0
    assert "Traceback" not in (folder / "log").read_text()
    assert list((folder / "tmp").iterdir()) == []  # uploads are deleted


@pytest.fixture
def page(browser, address):
    """The page, which must log no error and make no request to another host."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["microphone"])
    page = context.new_page()
    page.set_default_timeout(30_000)
    errors, asked = [], []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector("h1")
    yield page
    context.close()
    assert errors == []
    assert [url for url in asked if not url.startswith((f"{address}/", "data:", "blob:"))] == []


def answer_to(page, path: Path) -> str:
    """Upload a file, and wait for the answer."""
    before = page.inner_text("#answer .prose")
    page.set_input_files("#upload input[type=file]", path)
    page.wait_for_function("before => document.querySelector('#answer .prose').innerText !== before", arg=before)
    return page.inner_text("#answer .prose")


def test_an_upload_shows_labels_and_curves_of_both_models(page):
    said = answer_to(page, SAID)
    assert [card.inner_text() for card in page.query_selector_all(".card h2")] == ["Shifted", "Plain"]
    assert all(card.inner_text() in LABELS for card in page.query_selector_all(".card .label"))
    assert len(re.findall(r"[\d.]+ s of sound, predicted in \d+ ms: real-time factor \d\.\d+", said)) == 2
    for name in ("Shifted", "Plain"):
        course = page.get_by_role("img", name=f"{name}: waveform and probability of each class over time")
        assert course.evaluate("image => image.complete && image.naturalWidth") > 400
    assert page.locator("#player audio").get_attribute("src")
    assert "The corpus is noise." in page.inner_text(".words.small")


def test_an_example_needs_one_click(page):
    page.get_by_role("button", name="sad, woman").click()
    page.wait_for_selector(".card img")
    assert len(page.query_selector_all(".card img")) == 2


def test_the_microphone_records(page):
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(1200)
    page.get_by_role("button", name="Stop", exact=True).click()
    page.wait_for_selector(".card img")
    assert float(re.search(r"([\d.]+) s of sound", page.inner_text("#answer"))[1]) > 0.5


def test_a_broken_recording_shows_the_reason_and_the_next_one_works(page, tmp_path):
    flac = tmp_path / "cut.flac"
    soundfile.write(flac, noise(32000), 16000)
    flac.write_bytes(flac.read_bytes()[:20000])
    soundfile.write(tmp_path / "nan.wav", np.full(800, np.nan, dtype=np.float32), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "silent.wav", np.zeros(0), 16000)
    (tmp_path / "text.wav").write_text("not a sound")
    (tmp_path / "empty.wav").touch()
    for name, sentence in {
        "cut.flac": "The audio file cut.flac is cut off",
        "nan.wav": "The audio file nan.wav contains samples that are not finite.",
        "silent.wav": "The audio file silent.wav is empty.",
        "text.wav": "The audio file text.wav cannot be read: Format not recognised.",
        "empty.wav": "The audio file empty.wav cannot be read",
    }.items():
        assert answer_to(page, tmp_path / name).startswith(sentence)
        assert page.query_selector("#answer [role=alert]")
    assert "s of sound" in answer_to(page, SAID)


def test_a_file_of_another_kind_shows_a_message(page, tmp_path):
    (tmp_path / "letter.txt").write_text("not a sound")
    page.set_input_files("#upload input[type=file]", tmp_path / "letter.txt")
    assert "Invalid file type: letter.txt" in page.wait_for_selector(".toast-body").inner_text()


def test_the_page_fits_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 844})
    microphones = page.locator("#microphone select")
    microphones.evaluate("list => list.replaceChildren(new Option('No microphone found'))")
    needed = (
        "list => { const c = document.createElement('canvas').getContext('2d'); c.font = getComputedStyle(list).font;"
    )
    needed += (
        " return c.measureText('No microphone found').width + 2 * parseFloat(getComputedStyle(list).paddingLeft) }"
    )
    assert microphones.evaluate("list => list.clientWidth") >= microphones.evaluate(needed)
    answer_to(page, SAID)
    wide = (
        "() => [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate(f"({wide})().map(e => e.outerHTML.slice(0, 100))") == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux routes all of 127.0.0.0/8 to this machine")
def test_the_demo_listens_only_on_its_address(address):
    port = int(address.rsplit(":", 1)[1])
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)


def test_the_curve_ends_with_the_recording_and_equals_the_predictions_of_the_windows():
    recognizer, wave = Recognizer(local_model("last")), noise(19200)
    course = demo.predict("mine", recognizer, wave).course
    step = course[0].end
    expected = [*recognizer.latest([wave], step)]
    assert [window.end for window in course] == pytest.approx([window.end for window in expected])
    np.testing.assert_allclose(
        [window.probabilities for window in course], [window.probabilities for window in expected], atol=1e-5
    )
    assert course[-1].end == 1.2
    assert [window.end for window in demo.predict("mine", recognizer, wave[:100]).course] == [100 / 16000]


def test_a_recording_that_is_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "MAX_SECONDS", 0.5)
    soundfile.write(tmp_path / "long.wav", noise(16000), 16000)
    said, wave = demo.answer_to([], tmp_path / "long.wav", "long.wav")
    assert "at most 0.00833333 minutes" in said
    assert wave is None


def test_a_channel_is_chosen_and_channels_that_cancel_are_named(tmp_path):
    wave = noise(8000)
    soundfile.write(tmp_path / "a.wav", np.stack([wave, -wave], axis=1), 16000, subtype="FLOAT")
    said, used = demo.answer_to([], tmp_path / "a.wav", "mine.wav", 1)
    np.testing.assert_array_equal(used, -wave)
    assert "cancel" not in said
    assert "mine.wav cancel each other" in demo.answer_to([], tmp_path / "a.wav", "mine.wav")[0]
    assert "in [0, 1], got 3" in demo.answer_to([], tmp_path / "a.wav", "mine.wav", 3)[0]


def test_a_recording_that_is_too_short_for_speech_is_refused(tmp_path):
    soundfile.write(tmp_path / "short.wav", noise(1599), 16000)
    said, wave = demo.answer_to([], tmp_path / "short.wav", "short.wav")
    assert re.search(r"at least 0\.1 s long, got 0\.09994 s \(1599 samples", said)
    assert wave is None


def test_names_are_escaped():
    prediction = Prediction(
        "<b>", ("<i>", "&"), (0.6, 0.4), -20.0, (Window(0, 0.1, (0.6, 0.4), -20.0),), 0.5, 0.1, 0.01
    )
    shown = cards([prediction], noise(1600))
    assert "<b>" not in shown
    assert '<p class="label">&lt;i&gt;</p>' in shown
    assert "<b>&lt;x</b> was trained on noise. On Session1" in caveats([("<x", Recognizer(local_model()))])


def test_each_class_has_one_colour_of_its_own_in_any_order():
    labels = ["angry", "happy", "neutral", "sad", "calm"]
    colours = dict(zip(labels, class_colours(labels), strict=True))
    assert len(set(colours.values())) == len(labels)
    assert class_colours(labels[::-1]) == [colours[label] for label in labels[::-1]]


def test_a_card_shows_the_remark_of_a_recording_without_sound():
    recognizer = Recognizer(local_model())
    assert "no speech found" in cards([demo.predict("mine", recognizer, np.zeros(8000, dtype=np.float32))], noise(8000))
    assert "no speech found" not in cards([demo.predict("mine", recognizer, noise(8000))], noise(8000))


def test_the_page_says_that_the_training_data_of_a_model_are_not_known():
    recognizer = Recognizer(local_model(provenance={}))
    assert "The training data of <b>mine</b> are not known." in caveats([("mine", recognizer)])


def test_wrong_arguments_are_a_one_line_error(tmp_path, monkeypatch):
    local_model().save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)

    def typed(*arguments: object) -> str:
        done = CliRunner().invoke(app, ["ser", "demo", *map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == 2
        return done.output

    assert re.match(r"error: examples/real-speech/models/Shiftformer .*--model\n$", typed())
    (tmp_path / "auth").write_text("anna\n")
    for arguments, error in (
        (("--host", "0.0.0.0"), r"--host .*0\.0\.0\.0.*--auth FILE.*--without-password"),
        (("--host", "0.0.0.0", "--auth", "anna:secret"), r"--auth must be a file .*user:password, got a path "),
        (("--auth", "auth"), r"--auth auth must contain one line, user:password"),
        (("--baseline-revision", "v1"), "--baseline-revision requires --baseline"),
    ):
        printed = typed("--model", "model", *arguments)
        assert re.match(rf"error: {error}", printed)
        assert "secret" not in printed
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        printed = typed("--model", "model", "--no-browser", "--port", port)
        assert re.match(rf"error: the demo cannot listen on --host 127\.0\.0\.1 --port {port}: ", printed)
    monkeypatch.setitem(sys.modules, "gradio", None)
    missing = typed("--model", "model")
    assert re.fullmatch(r'error: gradio is not installed: pip install .*\[demo\]"\n', missing)


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
