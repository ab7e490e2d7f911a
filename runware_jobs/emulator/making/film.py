"""Short films: the scene of a prompt in motion, or given frames once more, in a container browsers play."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import TYPE_CHECKING

import av
from PIL import Image, ImageOps

from runware_jobs.emulator.pictures.caption import write_caption
from runware_jobs.emulator.pictures.plan import plan_picture
from runware_jobs.emulator.pictures.scene import draw_scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

FRAMES_PER_S = 12
# Scenes are drawn no larger than this and enlarged, and one loop of them serves a film of any length.
_LARGEST_DRAWN_SIDE = 640
_LOOP_FRAMES = 48
# How long a given picture takes to become the scene, or the scene to become the picture.
_FADE_S = 0.7
# A third of the time of "veryfast" for twice the bytes: somebody waits for the first look at a film.
_QUICK = {"preset": "ultrafast", "crf": "26"}
_ENCODERS: Mapping[str, tuple[str, str, dict[str, str]]] = {
    "MP4": ("mp4", "libx264", _QUICK),
    "MOV": ("mov", "libx264", _QUICK),
    "MKV": ("matroska", "libx264", _QUICK),
    "WEBM": ("webm", "libvpx", {"deadline": "realtime", "cpu-used": "8", "crf": "20"}),
}
_WEBM_BIT_RATE = 1_500_000


def draw_film(
    prompt: str,
    seed: int,
    size: tuple[int, int],
    seconds: float,
    *,
    first: Image.Image | None = None,
    last: Image.Image | None = None,
) -> Iterator[Image.Image]:
    """The frames of the scene, 12 a second, in exactly that size (made even); `first` and `last` frame it."""
    width, height = even(size)
    plan = plan_picture(prompt, seed)
    scale = min(1.0, _LARGEST_DRAWN_SIDE / max(size))
    drawn_size = (max(16, round(width * scale)), max(16, round(height * scale)))
    opening, closing = (
        ImageOps.fit(image.convert("RGB"), (width, height)) if image is not None else None
        for image in (first, last)
    )
    count = max(2, round(seconds * FRAMES_PER_S))
    fade = max(1, min(round(_FADE_S * FRAMES_PER_S), count // 2))
    loop: list[Image.Image] = []
    for number in range(count):
        if len(loop) < _LOOP_FRAMES:
            loop.append(draw_scene(plan, drawn_size, (number / _LOOP_FRAMES) % 1.0))
        frame = loop[number % _LOOP_FRAMES].resize((width, height), Image.Resampling.BILINEAR)
        write_caption(frame, prompt)
        if opening is not None and number < fade:
            frame = Image.blend(opening, frame, number / fade)
        if closing is not None and number >= count - fade:
            frame = Image.blend(frame, closing, (number - (count - fade) + 1) / fade)
        yield frame


def even(size: tuple[int, int]) -> tuple[int, int]:
    """The size with even sides, as H.264 and VP8 in 4:2:0 need them."""
    return max(2, size[0] // 2 * 2), max(2, size[1] // 2 * 2)


def encode(frames: Iterable[Image.Image], file_format: str, rate: Fraction | int = FRAMES_PER_S) -> bytes:
    """The frames as MP4, MOV, MKV (H.264) or WEBM (VP8). They must all be of one even size."""
    container_name, encoder, options = _ENCODERS[file_format]
    out = io.BytesIO()
    with av.open(out, "w", format=container_name) as container:
        stream = container.add_stream(encoder, rate=rate)
        if not isinstance(stream, av.VideoStream):
            raise TypeError(f"{encoder} is no video encoder")
        stream.pix_fmt = "yuv420p"
        # One thread: the order of work, and so the bytes, must not depend on the machine.
        stream.options = dict(options)
        stream.thread_count = 1
        if encoder == "libvpx":
            stream.bit_rate = _WEBM_BIT_RATE
        for number, frame in enumerate(frames):
            if number == 0:
                stream.width, stream.height = frame.size
            container.mux(stream.encode(_video_frame(frame)))
        container.mux(stream.encode(None))
    return out.getvalue()


def decode(body: bytes, most_s: float) -> tuple[list[Image.Image], Fraction] | None:
    """The frames of a film and their rate, at most its first seconds; None for bytes that are no film."""
    try:
        with av.open(io.BytesIO(body), "r") as container:
            if not container.streams.video:
                return None
            stream = container.streams.video[0]
            rate = stream.average_rate or Fraction(FRAMES_PER_S)
            frames = []
            for frame in container.decode(stream):
                frames.append(frame.to_image())  # type: ignore[no-untyped-call]  # PyAV has no type for it
                if len(frames) >= most_s * rate:
                    break
    except (av.FFmpegError, ValueError):
        return None
    return (frames, rate) if frames else None


def changed(
    frames: Sequence[Image.Image], change: Callable[[Image.Image], Image.Image]
) -> Iterator[Image.Image]:
    """Each frame changed, in an even size."""
    for frame in frames:
        result = change(frame)
        yield result if result.size == even(result.size) else result.resize(even(result.size))


def _video_frame(image: Image.Image) -> av.VideoFrame:
    frame = av.VideoFrame(image.width, image.height, "rgb24")
    frame.planes[0].update(_padded(image.convert("RGB"), frame.planes[0].line_size))
    return frame.reformat(format="yuv420p")


def _padded(image: Image.Image, line_bytes: int) -> bytes:
    """The pixels with each row filled up to the encoder's line length."""
    rows, width = image.tobytes(), image.width * 3
    if width == line_bytes:
        return rows
    fill = bytes(line_bytes - width)
    return b"".join(rows[start : start + width] + fill for start in range(0, len(rows), width))
