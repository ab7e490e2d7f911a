"""Sounds: a melody whose notes come from the prompt, or a hummed reading of a text."""

from __future__ import annotations

import array
import io
import math
from random import Random
from typing import TYPE_CHECKING

import av

if TYPE_CHECKING:
    from collections.abc import Iterator

_RATE = 22_050
_LOUDEST = 32_767
# A minor pentatonic over two octaves: whatever is picked sounds together.
_SCALE_HZ = (220.0, 261.63, 293.66, 329.63, 392.0, 440.0, 523.25, 587.33, 659.25, 783.99)
_NOTE_S = 0.28
# Written out once and repeated: a long song costs no more to make than a short one.
_PHRASE_S = 18.2
_CHARACTERS_PER_S = 14.0
_VOWELS_HZ = {"a": (730, 1090), "e": (530, 1840), "i": (270, 2290), "o": (570, 840), "u": (300, 870)}
# Container, encoder and sample format of each output format.
_ENCODERS = {
    "MP3": ("mp3", "libmp3lame", "s16p"),
    "WAV": ("wav", "pcm_s16le", "s16"),
    "FLAC": ("flac", "flac", "s16"),
    "OGG": ("ogg", "libopus", "s16"),
    "AAC": ("adts", "aac", "fltp"),
}
_OPUS_RATE = 48_000


def compose(prompt: str, seed: int, seconds: float) -> array.array[int]:
    """A melody of that length: mono samples at 22,050 Hz."""
    phrase = _melody(Random(f"{seed}/{prompt}"), min(seconds, _PHRASE_S))  # noqa: S311  # a repeatable melody is the point
    total = max(1, round(seconds * _RATE))
    return (phrase * math.ceil(total / len(phrase)))[:total]


def speak(text: str, seed: int, seconds: float) -> array.array[int]:
    """The text hummed, a vowel at a time, in a voice that depends on the seed; as long as asked."""
    random = Random(seed)  # noqa: S311  # a repeatable voice is the point
    pitch_hz = random.uniform(95, 210)
    total = max(1, round(seconds * _RATE))
    sounds = [character for character in text.lower() if character in _VOWELS_HZ or character == " "] or ["a"]
    length = max(1, total // len(sounds))
    samples = array.array("h", bytes(2 * total))
    for number, sound in enumerate(sounds[: total // length]):
        if sound != " ":
            falling = pitch_hz * (1.12 - 0.2 * number / len(sounds)) * random.uniform(0.97, 1.03)
            start = number * length
            for offset, value in enumerate(_vowel(_VOWELS_HZ[sound], falling, length)):
                samples[start + offset] = value
    return samples


def spoken_s(text: str) -> float:
    """How long it takes to read the text aloud."""
    return max(0.6, len(text) / _CHARACTERS_PER_S)


def encode(
    samples: array.array[int], file_format: str, *, rate: int | None = None, bitrate: int = 64_000
) -> bytes:
    """The samples as MP3, WAV, FLAC, OGG or AAC; `rate` in Hz (None keeps 22,050), `bitrate` in bit/s."""
    container_name, encoder, sample_format = _ENCODERS[file_format]
    rate = _OPUS_RATE if encoder == "libopus" else rate or _RATE
    out = io.BytesIO()
    with av.open(out, "w", format=container_name) as container:
        stream = container.add_stream(encoder, rate=rate)
        if not isinstance(stream, av.AudioStream):
            raise TypeError(f"{encoder} is no audio encoder")
        stream.bit_rate = bitrate
        stream.layout = "mono"
        resampler = av.AudioResampler(sample_format, "mono", rate, frame_size=stream.frame_size or None)
        for frame in _frames(samples):
            for resampled in resampler.resample(frame):
                container.mux(stream.encode(resampled))
        for rest in resampler.resample(None):
            container.mux(stream.encode(rest))
        container.mux(stream.encode(None))
    return out.getvalue()


def _frames(samples: array.array[int]) -> Iterator[av.AudioFrame]:
    for start in range(0, len(samples), _RATE):
        part = samples[start : start + _RATE]
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(part))
        frame.planes[0].update(part.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate = _RATE
        frame.pts = start
        yield frame


def _melody(random: Random, seconds: float) -> array.array[int]:
    total = max(1, round(seconds * _RATE))
    length = round(_NOTE_S * _RATE)
    samples = array.array("h", bytes(2 * total))
    place = random.randrange(len(_SCALE_HZ))
    for start in range(0, total, length):
        place = max(0, min(len(_SCALE_HZ) - 1, place + random.choice((-2, -1, -1, 0, 1, 1, 2))))
        step = math.tau * _SCALE_HZ[place] / _RATE
        count = min(length, total - start)
        for offset in range(count):
            # A soft attack and a long decay, with one overtone: near a marimba.
            envelope = min(1.0, offset / 300) * math.exp(-4.5 * offset / length)
            tone = math.sin(step * offset) + 0.35 * math.sin(4 * step * offset) * math.exp(
                -12 * offset / length
            )
            samples[start + offset] = round(_LOUDEST * 0.55 * envelope * tone)
    return samples


def _vowel(formants_hz: tuple[int, int], pitch_hz: float, length: int) -> Iterator[int]:
    """A glottal tone and the two resonances that make it this vowel."""
    steps = [math.tau * hertz / _RATE for hertz in (pitch_hz, *formants_hz)]
    for offset in range(length):
        envelope = math.sin(math.pi * offset / length) ** 0.6
        pulse = 0.5 + 0.5 * math.sin(steps[0] * offset)
        voice = 0.5 * math.sin(steps[0] * offset) + pulse * (
            0.35 * math.sin(steps[1] * offset) + 0.18 * math.sin(steps[2] * offset)
        )
        yield round(_LOUDEST * 0.6 * envelope * voice)
