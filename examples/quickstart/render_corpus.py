"""Render the quickstart's corpus: synthetic "emotional" speech in the folder layout of IEMOCAP.

    pip install espeakng-loader soundfile soxr numpy
    python examples/quickstart/render_corpus.py --out DIR

espeak-ng (GPL-3, shipped as a shared library by the wheel ``espeakng-loader``) speaks each sentence; NumPy shapes the
sound. The classes are a 2x2 grid of arousal and direction. *Arousal* (high for ``hap``, ``exc``, ``ang``; low for
``sad``, ``neu``) changes the means of rate, pitch, range, loudness and spectral tilt; the values of different classes
overlap widely. *Direction* is only the order of events in time: loudness and brightness rise and fall, a quarter of a
turn apart, and either brightness follows loudness or loudness follows brightness::

    ang, sad (+1)        loud -> bright -> soft -> dull -> loud ...
    hap, exc, neu (-1)   loud -> dull -> soft -> bright -> loud ...

Each direction is the other in reverse: over whole turns, both have the same distributions of loudness and brightness.
"""

import argparse
import ctypes
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import espeakng_loader
import numpy as np
import soundfile
import soxr

SEED = 20261123
RATE = 16_000  # Hz
COMPRESSION = 0.8  # Vorbis level: about 11 kB per utterance
TURN = (0.6, 0.8)  # minimum and maximum seconds of a turn through loud, bright, soft and dull
SWING = 20.0  # mean dB between loud and soft
SCATTER = 0.4  # standard deviation of arousal within a class; high and low arousal are 2 apart
CUE = 1.0  # effect of arousal on a cue; the noise of a cue has a standard deviation of 0.8
DULL = np.hanning(32) / 16  # low-pass filter: -3 dB at about 370 Hz, first zero at about 1 kHz
BRIGHT = np.array([-1, 2, -1])  # high-pass filter
FEMALE = ["en+f1", "en+f2", "en+f3", "en+f4", "en+f5"]  # one per session
MALE = ["en+m1", "en+m2", "en+m3", "en+m4", "en+m7"]
DIALOGS = ["F_impro01", "F_script01_1", "M_impro01", "M_script01_1"]
SENTENCES = (
    """
The train leaves from the other side. / I put the letters on the table. / She will call you in the morning.
We walked home along the river. / The window in the kitchen is open. / He bought a new pair of shoes.
There is a parcel at the door. / They are coming over for dinner. / You left your jacket in the car.
The meeting was moved to Monday. / My brother works at the station. / It has been raining since noon.
The shop on the corner is closed. / I found your notebook upstairs. / We have to take the next bus.
The children are in the garden. / She painted the hallway yellow. / He asked me about the weekend.
The keys were under the newspaper. / I will see you at the library. / They sold the house in the spring.
The doctor wants to see you again. / Nobody told me about the change. / We can sit here by the fountain.
The coffee is ready in the kitchen. / I have never been on a boat. / She moved the chair to the window.
He wrote it down on the calendar. / The water in the lake is cold. / Your sister sent us a picture.
The lights went out at seven. / I forgot the bread at the market. / We are going to the mountains.
The radio is on in the bedroom. / He took the dog to the park. / They finished the bridge in autumn.
The tickets are in my pocket. / I heard it from the neighbours. / She opened the box on Tuesday.
There was a letter in the drawer.
""".strip()
    .replace("\n", " / ")
    .split(" / ")
)


@dataclass(frozen=True, slots=True)
class Emotion:
    """A label with its mean arousal and valence, and its direction in time, +1 or -1."""

    label: str
    arousal: float
    direction: float
    valence: float


HAP = Emotion("hap", 0.9, -1, 4.0)
EXC = replace(HAP, label="exc", arousal=1.1)
ANG = Emotion("ang", 1.0, +1, 1.5)
SAD = Emotion("sad", -1.0, +1, 2.0)
NEU = Emotion("neu", -1.0, -1, 3.0)
SKIPPED = [Emotion("fru", 0.5, +1, 2.0), Emotion("xxx", 0.0, -1, 2.5)]


@dataclass(frozen=True, slots=True)
class Speaker:
    """A speaker. ``pitch``, ``rate``, ``gain`` and ``tilt`` are offsets in the units of ``Prosody``."""

    session: int
    gender: str
    voice: str
    pitch: float
    rate: float
    gain: float
    tilt: float
    noise: float  # mean, as in Prosody


@dataclass(frozen=True, slots=True)
class Prosody:
    """The prosody of one utterance."""

    rate: float  # words per minute
    pitch: float  # espeak's 0..99
    range: float  # espeak's 0..99
    gain: float  # dB
    tilt: float  # coefficient of the filter 1 + tilt z^-1: below 0 bright, above 0 dull
    swing: float  # change of loudness within a turn, dB; its sign is the direction
    noise: float  # dB of white noise below the mean level of speech; a filter then lowers it by about 2 dB
    arousal: float  # the emotion's arousal with scatter

    @classmethod
    def draw(cls, rng: np.random.Generator, speaker: Speaker, emotion: Emotion) -> "Prosody":
        """Rate, pitch, range, gain and tilt depend on one random arousal, plus noise, so that the classes overlap."""
        arousal = rng.normal(emotion.arousal, SCATTER)
        rate, pitch, range_, gain, tilt = CUE * arousal + rng.normal(0, 0.8, size=5)
        return cls(
            rate=float(np.clip(168 + 9 * rate + speaker.rate, 150, 215)),
            pitch=48 + 4 * pitch + speaker.pitch,
            range=float(np.clip(50 + 10 * range_, 15, 90)),
            gain=-31 + 2 * gain + speaker.gain,
            tilt=float(np.clip(-0.08 * tilt + speaker.tilt, -0.6, 0.6)),
            swing=emotion.direction * rng.normal(SWING, 4),
            noise=speaker.noise + rng.normal(0, 3),
            arousal=arousal,
        )


class Espeak:
    """espeak-ng through its C interface. Use one instance per process: the library has global state."""

    _SYNCHRONOUS, _UTF8 = 2, 1

    def __init__(self) -> None:
        self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
        data = str(espeakng_loader.get_data_path())
        self._rate = self._lib.espeak_Initialize(self._SYNCHRONOUS, 0, data.encode(), 0)
        if self._rate <= 0:
            raise RuntimeError(f"espeak_Initialize must return a sample rate, got {self._rate}; is {data} complete?")
        self._lib.espeak_Info.restype = ctypes.c_char_p
        self.version = self._lib.espeak_Info(None).decode()
        self._chunks: list[np.ndarray] = []
        signature = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = signature(self._collect)  # keeps a reference: the library has only the pointer
        self._lib.espeak_SetSynthCallback(self._callback)

    def _collect(self, wave: "ctypes._Pointer[ctypes.c_short]", samples: int, _events: int | None) -> int:
        if wave and samples:
            self._chunks.append(np.ctypeslib.as_array(wave, (samples,)).copy())
        return 0

    def say(self, sentence: str, voice: str, prosody: Prosody, *, seed: int) -> np.ndarray:
        """Speech at 16 kHz in [-1, 1] with the rate, pitch and range of ``prosody``, without silence around it."""
        self._chunks.clear()
        if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"voice must be a voice of espeak-ng, got {voice!r}")
        for number, value in ((1, prosody.rate), (3, prosody.pitch), (4, prosody.range)):  # espeak_PARAMETER
            self._lib.espeak_SetParameter(number, round(value), 0)
        self._lib.espeak_ng_SetRandSeed(ctypes.c_long(seed))  # else the breath noise is not reproducible
        text = sentence.encode()
        self._lib.espeak_Synth(text, len(text) + 1, 0, 0, 0, self._UTF8, None, None)
        wave = soxr.resample(np.concatenate(self._chunks) / 32768, self._rate, RATE)
        loud = np.flatnonzero(np.abs(wave) > 0.01)
        return wave[loud[0] : loud[-1] + 1]


def circling_phase(samples: int, direction: float, rng: np.random.Generator) -> np.ndarray:
    """A phase in radians with turns of random lengths in ``TURN``, reversed unless ``direction > 0``."""
    turns = rng.uniform(*TURN, size=2 + int(samples / RATE / TURN[0])) * RATE
    ends = np.concatenate([[0], np.cumsum(turns)]) - rng.uniform(0, turns[0])
    phase = 2 * np.pi * np.interp(np.arange(samples), ends, np.arange(len(ends)))
    return phase if direction > 0 else phase[::-1]


def level(wave: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(wave**2)))


def shape(wave: np.ndarray, prosody: Prosody, rng: np.random.Generator) -> np.ndarray:
    """Apply brightness and loudness in their order, tilt and mean level; add silence around the speech, and noise."""
    dull, bright = np.convolve(wave, DULL, mode="same"), np.convolve(wave, BRIGHT, mode="same")
    phase = circling_phase(len(wave), prosody.swing, rng)
    brightness = 0.5 + 0.5 * np.sin(phase)
    wave = (1 - brightness) * dull / level(dull) + brightness * bright / level(bright)
    wave = wave * 10 ** (abs(prosody.swing) / 2 * np.cos(phase) / 20)
    wave = np.convolve(wave, [1, prosody.tilt])
    wave = np.pad(wave / level(wave), rng.integers(RATE // 50, RATE // 8, size=2))
    noise = np.convolve(rng.normal(size=len(wave)), [0.6, 0.4, 0.3, 0.2], mode="same")
    wave = 10 ** (prosody.gain / 20) * (wave + noise * 10 ** (-prosody.noise / 20))
    return np.clip(wave, -0.95, 0.95)


def ogg(wave: np.ndarray, serial: int) -> bytes:
    """Ogg Vorbis with a given stream number. libsndfile's number is random, and files with it are not reproducible."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, RATE, format="OGG", subtype="VORBIS", compression_level=COMPRESSION)
    data, start = bytearray(buffer.getvalue()), 0
    while start < len(data):
        segments = data[start + 26]
        stop = start + 27 + segments + sum(data[start + 27 : start + 27 + segments])
        data[start + 14 : start + 18] = serial.to_bytes(4, "little")
        data[start + 22 : start + 26] = bytes(4)  # the page's checksum counts itself as 0
        data[start + 22 : start + 26] = ogg_crc(data[start:stop]).to_bytes(4, "little")
        start = stop
    return bytes(data)


def ogg_crc(page: bytes) -> int:
    """CRC-32 with polynomial 04c11db7, neither reflected nor inverted (zlib's is both)."""
    value = 0
    for byte in page:
        value = ((value << 8) & 0xFFFFFFFF) ^ crc_of_byte((value >> 24) ^ byte)
    return value


@cache
def crc_of_byte(byte: int) -> int:
    value = byte << 24
    for _ in range(8):
        value = (value << 1) ^ (0x104C11DB7 if value & 0x80000000 else 0)
    return value


def cast(rng: np.random.Generator) -> list[Speaker]:
    """A woman and a man for each session."""
    people = []
    for session in range(1, 6):
        for gender, voices in (("F", FEMALE), ("M", MALE)):
            pitch, rate, gain, tilt, noise = rng.normal([0, 0, 0, 0, 28], [4, 5, 1.5, 0.1, 3])
            people.append(Speaker(session, gender, voices[session - 1], pitch, rate, gain, tilt, noise))
    return people


def lines(number: int, speaker: Speaker) -> list[tuple[Emotion, str]]:
    """Ten sentences in all four classes each, so that the words do not depend on the class, and one skipped line."""
    own = [SENTENCES[(10 * number + i) % len(SENTENCES)] for i in range(10)]
    happy = [(HAP if i % 2 == 0 else EXC, text) for i, text in enumerate(own)]
    rest = [(emotion, text) for emotion in (ANG, SAD, NEU) for text in own]
    return [*happy, *rest, (SKIPPED[(number + speaker.session) % 2], own[number])]


def utterances(seed: int) -> Iterator[tuple[str, str, Emotion, Speaker, str]]:
    """``(dialog, utterance, emotion, speaker, sentence)`` in the order of rendering, shuffled within each session."""
    rng = np.random.default_rng(seed)
    people = cast(rng)
    for session in range(1, 6):
        turns = [
            (speaker, *line)
            for number, speaker in enumerate(people)
            if speaker.session == session
            for line in lines(number, speaker)
        ]
        turns = [turns[i] for i in rng.permutation(len(turns))]
        for dialog_turns, dialog in zip(np.array_split(np.arange(len(turns)), len(DIALOGS)), DIALOGS, strict=True):
            counts = {"F": 0, "M": 0}
            for index in dialog_turns:
                speaker, emotion, sentence = turns[index]
                name = f"Ses{session:02d}{dialog}"
                yield name, f"{name}_{speaker.gender}{counts[speaker.gender]:03d}", emotion, speaker, sentence
                counts[speaker.gender] += 1


def render(out: Path, seed: int) -> None:
    """Write the corpus. A second call in the same process can differ, because espeak-ng keeps state."""
    if any(out.glob("Session*")):
        raise FileExistsError(f"--out must be a folder without a corpus, got {out}")
    espeak = Espeak()
    annotations: dict[Path, list[str]] = {}
    clock: dict[str, float] = {}
    for index, (dialog, name, emotion, speaker, sentence) in enumerate(utterances(seed)):
        rng = np.random.default_rng([seed, index])
        prosody = Prosody.draw(rng, speaker, emotion)
        wave = shape(espeak.say(sentence, speaker.voice, prosody, seed=index + 1), prosody, rng)
        folder = out / f"Session{speaker.session}"
        path = folder / "sentences" / "wav" / dialog / f"{name}.ogg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ogg(wave, index + 1))
        start = clock.get(dialog, 0.0) + rng.uniform(0.2, 1.5)
        clock[dialog] = stop = start + len(wave) / RATE
        activation = np.clip(round(2 * (3 + prosody.arousal)) / 2, 1, 5)  # in steps of 0.5, as in IEMOCAP
        annotations.setdefault(folder / "dialog" / "EmoEvaluation" / f"{dialog}.txt", []).append(
            f"[{start:.4f} - {stop:.4f}]\t{name}\t{emotion.label}\t[{emotion.valence:.4f}, {activation:.4f}, 3.0000]\n"
        )
    for path, turns in annotations.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n" + "\n".join(turns), newline="\n")
    files = sorted(p for p in out.rglob("*") if p.suffix in {".ogg", ".txt"})
    sums = (f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(out).as_posix()}\n" for p in files)
    (out / "SHA256SUMS").write_text("".join(sums), newline="\n")
    size = sum(p.stat().st_size for p in files) / 1e6
    print(f"espeak-ng {espeak.version}: {len(files)} files, {size:.2f} MB in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the corpus")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of all random choices (default: %(default)s)")
    args = parser.parse_args()
    render(args.out, args.seed)
