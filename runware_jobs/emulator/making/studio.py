"""The file of a finished item: which picture, film, sound or model belongs to which task.

Everything follows from the task alone (prompt, seed, size, inputs), so a file made twice is the same.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from PIL import Image

from runware_jobs.emulator.numbers import number, whole
from runware_jobs.emulator.pictures.cutout import subject_mask
from runware_jobs.emulator.results import output_format

from . import film, sound, stills
from .archive import training_zip
from .inputs import Inputs
from .solid import model_glb
from .vector import trace

if TYPE_CHECKING:
    from runware_jobs.emulator.protocol import Platform
    from runware_jobs.emulator.tasks import Task

_LONGEST_FILM_S = 60.0
_LONGEST_SOUND_S = 600.0
_DEFAULT_FILM_S = 5.0
_DEFAULT_SOUND_S = 10.0
_FILM_SIZE = (1280, 720)
_GREEN = (0, 177, 64)
_RESOLUTIONS = {"360p": 360, "480p": 480, "540p": 540, "720p": 720, "1080p": 1080, "4k": 2160}
_PILLOW_FORMATS = {"JPG": "JPEG", "PNG": "PNG", "WEBP": "WEBP"}
_FILM_FORMATS = ("MP4", "WEBM", "MOV", "MKV")
_FIRST_FRAME = ("firstFrame", "image", "images", "seedImage", "frameImages", "referenceImages", "inputImage")


def produce(task: Task, index: int, platform: Platform) -> bytes:
    """The bytes of an item in the format asked for. Safe to call from any thread."""
    request = task.parameters()
    inputs = _inputs(task, platform)
    match task.kind.media:
        case "video":
            body = _film(task, index, request, inputs)
        case "audio":
            body = _sound(request, task.seed + index, output_format(task))
        case "model":
            body = _model(request, task.seed + index, inputs)
        case "archive":
            body = training_zip(str(request["importModel"]["air"]), task.seed)
        case "vector":
            body = trace(_traced(request, task.seed + index, inputs), stills.prompt_of(request))
        case "any":
            body = _converted(request, task.seed + index, inputs, output_format(task))
        case "image":
            image = _image(task, index, request, inputs, platform)
            body = encode(image, output_format(task), whole(request.get("outputQuality"), 95))
    return body


def encode(image: Image.Image, file_format: str, quality: int) -> bytes:
    """The image as JPG, PNG or WEBP; transparency becomes white in a JPG."""
    if file_format == "JPG" and image.mode == "RGBA":
        opaque = Image.new("RGB", image.size, "white")
        opaque.paste(image, mask=image.getchannel("A"))
        image = opaque
    out = io.BytesIO()
    # Fast settings: a demo fetches thousands of these.
    options: dict[str, Any] = {"method": 2} if file_format == "WEBP" else {"compress_level": 3}
    image.save(out, _PILLOW_FORMATS[file_format], quality=quality, **options)
    return out.getvalue()


def boxes(task: Task, platform: Platform) -> list[tuple[int, int, int, int]]:
    """Where a masking task finds something in its picture: left, top, right, bottom in pixels."""
    source = _source(_inputs(task, platform))
    return stills.found_boxes(source, task.parameters(), platform.catalogue.slug_of(task.model))


def film_s(task: Task, platform: Platform) -> float:
    """How long the film is that a tool was given, in seconds."""
    frames, rate = _given_film(_inputs(task, platform))
    return float(len(frames) / rate)


def _inputs(task: Task, platform: Platform) -> Inputs:
    def again(earlier: Task, earlier_index: int) -> bytes:
        return produce(earlier, earlier_index, platform)

    return Inputs(task.parameters(), platform, again)


def _image(
    task: Task, index: int, request: dict[str, Any], inputs: Inputs, platform: Platform
) -> Image.Image:
    match task.kind.name:
        case "upscale":
            return stills.upscaled(_source(inputs), request)
        case "removeBackground":
            return stills.without_background(_source(inputs), request)
        case "imageMasking":
            return stills.mask(_source(inputs), request, platform.catalogue.slug_of(task.model))
        case "controlNetPreprocess":
            return stills.preprocessed(_source(inputs), request)
        case _:
            return stills.paint(request, task.seed + index, inputs)


def _source(inputs: Inputs) -> Image.Image:
    picture = inputs.picture("image", "inputImage", "images")
    return picture if picture is not None else Image.new("RGB", (stills.DEFAULT_SIDE, stills.DEFAULT_SIDE))


def _film(task: Task, index: int, request: dict[str, Any], inputs: Inputs) -> bytes:
    file_format = output_format(task)
    if task.kind.name == "videoInference":
        seconds = min(_LONGEST_FILM_S, number(request.get("duration"), _DEFAULT_FILM_S))
        size = stills.size_of(request, _film_size(request.get("resolution")))
        pictures = [inputs.opened(one) for one in inputs.references(*_FIRST_FRAME)[:2]]
        last = inputs.picture("lastFrame") or (pictures[1] if len(pictures) > 1 else None)
        frames = film.draw_film(
            stills.prompt_of(request),
            task.seed + index,
            size,
            seconds,
            first=pictures[0] if pictures else None,
            last=last,
        )
        return film.encode(frames, file_format)
    given, rate = _given_film(inputs)
    if task.kind.name == "upscale":
        return film.encode(film.changed(given, lambda one: stills.upscaled(one, request)), file_format, rate)
    # Films have no transparency here: the usual green stands where the background was. What stands out in
    # the first frame is taken for the subject of all, as cutting each would take a second per second.
    subject = subject_mask(given[0])
    ground = Image.new("RGB", given[0].size, _GREEN)
    cleared = film.changed(given, lambda one: Image.composite(one.convert("RGB"), ground, subject))
    return film.encode(cleared, file_format, rate)


def _given_film(inputs: Inputs) -> tuple[list[Image.Image], Any]:
    """The frames of the film given; two drawn seconds stand for an address elsewhere."""
    references = inputs.references("video", "inputVideo", "videos")
    reference = references[0] if references else "film"
    body = inputs.body(reference)
    decoded = film.decode(body, _LONGEST_FILM_S) if body is not None else None
    if decoded is not None:
        return decoded
    return list(film.draw_film(reference[:80], 1, (640, 360), 2.0)), film.FRAMES_PER_S


def _film_size(resolution: Any) -> tuple[int, int]:
    height = _RESOLUTIONS.get(str(resolution).lower())
    return (height * 16 // 9, height) if height is not None else _FILM_SIZE


def _model(request: dict[str, Any], seed: int, inputs: Inputs) -> bytes:
    picture = inputs.picture("image", "images", "inputImage", "referenceImages")
    if picture is None:
        picture = stills.paint({**request, "width": 512, "height": 512}, seed, inputs)
    return model_glb(stills.prompt_of(request), seed, picture)


def _sound(request: dict[str, Any], seed: int, file_format: str) -> bytes:
    speech = request.get("speech")
    text = speech.get("text") if isinstance(speech, dict) else None
    asked = number(
        request.get("duration"), sound.spoken_s(text) if isinstance(text, str) else _DEFAULT_SOUND_S
    )
    seconds = max(0.1, min(_LONGEST_SOUND_S, asked))
    samples = (
        sound.speak(text, seed, seconds)
        if isinstance(text, str)
        else sound.compose(stills.prompt_of(request), seed, seconds)
    )
    settings = request.get("audioSettings")
    settings = settings if isinstance(settings, dict) else {}
    rate = whole(settings.get("sampleRate"), 0) or None
    return sound.encode(samples, file_format, rate=rate, bitrate=1000 * whole(settings.get("bitrate"), 64))


def _traced(request: dict[str, Any], seed: int, inputs: Inputs) -> Image.Image:
    picture = inputs.picture("image", "inputImage")
    return picture if picture is not None else stills.paint(request, seed, inputs)


def _converted(request: dict[str, Any], seed: int, inputs: Inputs, file_format: str) -> bytes:
    """What the file tool makes of its input: a film in another container, a frame of it, or a sound."""
    if file_format in _PILLOW_FORMATS:
        references = inputs.references("image", "images")
        frame = inputs.opened(references[0]) if references else _given_film(inputs)[0][0]
        return encode(frame, file_format, 95)
    if file_format in _FILM_FORMATS:
        frames, rate = _given_film(inputs)
        return film.encode(film.changed(frames, lambda one: one), file_format, rate)
    return _sound(request, seed, file_format)
