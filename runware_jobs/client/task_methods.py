"""The methods of the platform's JS SDK under their snake_case names, thin over `run()`.

Each sets its task type and sends everything else as it is given, also inputs of older days. Params
may come as one dict, as keywords, or both (then the keyword holds); what `call_options` names may
stand among them. Delivery is async unless they say otherwise, as in `run()`.

Most tools give one dict, since they have one result. Images are always a list. What may have one or
several results gives a dict for one and a list for several.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from .utility_methods import merged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .config import RunOptions

Item = dict[str, Any]
# One item, or a list of them where the call asked for several results.
OneOrMany = Any


class TaskMethods(ABC):
    """One method per kind of task, and the names that some of them had before."""

    @abstractmethod
    async def _run(self, params: Mapping[str, Any], options: RunOptions | None) -> list[Item]:
        """Do what `run()` promises."""

    async def image_inference(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> list[Item]:
        """Generate images; a list also for one. `on_partial_images(images, error)` hears them as they finish."""
        return await self._do("imageInference", params, options, more)

    async def photo_maker(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> list[Item]:
        """Generate images of the person in `inputImages` in a `style`; a list also for one."""
        return await self._do("photoMaker", params, options, more)

    async def video_inference(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> OneOrMany:
        """Generate a video; a list when `numberResults` asks for several."""
        return _one_or_many(await self._do("videoInference", params, options, more))

    async def audio_inference(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> OneOrMany:
        """Generate speech, music or sound; a list when `numberResults` asks for several."""
        return _one_or_many(await self._do("audioInference", params, options, more))

    async def text_inference(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> OneOrMany:
        """Generate text from `messages`; a list when `numberResults` asks for several. `stream()` gives it in pieces."""
        return _one_or_many(await self._do("textInference", params, options, more))

    async def three_d_inference(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> OneOrMany:
        """Generate a 3D model; a list when `numberResults` asks for several."""
        return _one_or_many(await self._do("3dInference", params, options, more))

    async def prompt_enhance(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> OneOrMany:
        """Write a `prompt` out; a list when `promptVersions` asks for several. Needs no model."""
        return _one_or_many(await self._do("promptEnhance", params, options, more))

    async def caption(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> Item:
        """Describe an image or a video in words. An `inputImage` needs no model."""
        return _one(await self._do("caption", params, options, more))

    async def upscale(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> Item:
        """Enlarge an image or a video. An `inputImage` needs no model; `imageUUID` may be missing from the result."""
        return _one(await self._do("upscale", params, options, more))

    async def remove_background(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> Item:
        """Cut out what stands in front. An `inputImage` needs no model; `imageUUID` may be missing from the result."""
        return _one(await self._do("removeBackground", params, options, more))

    async def controlnet_preprocess(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> Item:
        """Make a guide image for a ControlNet.

        With a `model` or `inputs` it is today's task `controlNetPreprocess`; with `inputImage` and
        `preProcessorType` alone the older `imageControlNetPreProcess`, which knows no models.
        """
        given = merged(params, more)
        is_present = hasattr(given, "keys") and ("model" in given or "inputs" in given)
        task_type = "controlNetPreprocess" if is_present else "imageControlNetPreProcess"
        return _one(await self._do(task_type, params, options, more))

    async def image_masking(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> Item:
        """Find things in an image: a mask, and where they are as `detections`."""
        return _one(await self._do("imageMasking", params, options, more))

    async def vectorize(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> Item:
        """Turn an image, or a prompt, into SVG."""
        return _one(await self._do("vectorize", params, options, more))

    async def training(
        self, params: Mapping[str, Any] | None = None, options: RunOptions | None = None, **more: Any
    ) -> Item:
        """Train a model on a dataset; gives its `air`, to be used as `model`.

        It takes hours, so allow for them with `RunOptions(timeout=...)`, or pass `skip_response=True`: then the
        answer is the ACK with its `taskUUID`, for `get_response()`.
        """
        return _one(await self._do("training", params, options, more))

    # ---- names of before ----------------------------------------------------------------------

    request_images = image_inference
    request_image_to_text = caption
    remove_image_background = remove_background
    upscale_gan = upscale
    enhance_prompt = prompt_enhance
    control_net_pre_process = controlnet_preprocess

    async def _do(
        self,
        task_type: str,
        params: Mapping[str, Any] | None,
        options: RunOptions | None,
        more: Mapping[str, Any],
    ) -> list[Item]:
        return await self._run(merged(params, more, taskType=task_type), options)


def _one(items: list[Item]) -> Item:
    return items[0]


def _one_or_many(items: list[Item]) -> OneOrMany:
    return items[0] if len(items) == 1 else items
