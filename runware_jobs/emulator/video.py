"""Short films: the scene of the prompt in motion, as H.264 in an MP4 that any browser plays."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import av

if TYPE_CHECKING:
    from PIL import Image

from .pictures.caption import write_caption
from .pictures.plan import plan_picture
from .pictures.scene import draw_scene

_FRAMES_PER_S = 12
_LARGEST_SIDE = 480


def film(prompt: str, seed: int, size: tuple[int, int], seconds: float) -> bytes:
    """An MP4 of the scene, `seconds` long, in the proportions of `size` and at most 480 pixels wide or high."""
    plan = plan_picture(prompt, seed)
    scale = min(1.0, _LARGEST_SIDE / max(size))
    # H.264 in yuv420p needs even sides.
    frame_size = (max(2, round(size[0] * scale / 2) * 2), max(2, round(size[1] * scale / 2) * 2))
    count = max(2, round(seconds * _FRAMES_PER_S))
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_FRAMES_PER_S)
        stream.width, stream.height = frame_size
        stream.pix_fmt = "yuv420p"
        # One thread: the order of work, and so the bytes, must not depend on the machine.
        stream.options = {"preset": "veryfast", "crf": "24"}
        stream.thread_count = 1
        for number in range(count):
            frame = draw_scene(plan, frame_size, number / count)
            write_caption(frame, prompt)
            container.mux(stream.encode(_video_frame(frame)))
        container.mux(stream.encode(None))
    return out.getvalue()


def _video_frame(image: Image.Image) -> av.VideoFrame:
    frame = av.VideoFrame(image.width, image.height, "rgb24")
    frame.planes[0].update(_padded(image, frame.planes[0].line_size))
    return frame.reformat(format="yuv420p")


def _padded(image: Image.Image, line_bytes: int) -> bytes:
    """The pixels with each row filled up to the encoder's line length."""
    rows, width = image.tobytes(), image.width * 3
    if width == line_bytes:
        return rows
    fill = bytes(line_bytes - width)
    return b"".join(rows[start : start + width] + fill for start in range(0, len(rows), width))
