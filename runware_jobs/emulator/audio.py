"""Short pieces of music: a melody whose notes come from the prompt, as WAV or MP3."""

from __future__ import annotations

import array
import io
import math
import wave
from random import Random

import av

_RATE = 22_050
_LOUDEST = 32_767
# A minor pentatonic over two octaves: whatever is picked sounds together.
_SCALE_HZ = (220.0, 261.63, 293.66, 329.63, 392.0, 440.0, 523.25, 587.33, 659.25, 783.99)
_NOTE_S = 0.28


def compose(prompt: str, seed: int, seconds: float, file_format: str) -> bytes:
    """A melody of that length in `WAV` or `MP3`."""
    samples = _melody(Random(f"{seed}/{prompt}"), seconds)  # noqa: S311  # a repeatable melody is the point
    return _wav(samples) if file_format == "WAV" else _mp3(samples)


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


def _wav(samples: array.array[int]) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(samples.tobytes())
    return out.getvalue()


def _mp3(samples: array.array[int]) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=_RATE)
        stream.bit_rate = 64_000
        frame = av.AudioFrame(format="s16p", layout="mono", samples=len(samples))
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate = _RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()
