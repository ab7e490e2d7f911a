"""The calls that the JavaScript SDK's documents print, with their placeholders filled.

Each stands under the section that shows it, and uses every parameter that the section names.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A blue square on white: 64 by 64.
PICTURE = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAa0lEQVR42u3aQQ2AMAxA0ZVgYVqmDQVoQwsiOg07LKTh/XuTvqTHRma2yh2t"
    "eAAAAAAAAAAAAADfda4O9OvZutB7DycEAAAAAAAAAAAAAAAAAAAAAAAAAAAAsLfwLwQAAAAAAAAAAADwW8AEF+AJe7g42KQAAAAASUVORK5C"
    "YII="
)
VIDEO = "https://example.com/video.mp4"


@dataclass(frozen=True, slots=True)
class SeedCall:
    """One call: the method in this client, its older name where it has one, and what goes over the wire."""

    method: str
    params: Mapping[str, Any]
    legacy: str | None = None


_SIZE = {"width": 512, "height": 512}
_OUTPUT = {"outputType": ["URL", "base64Data", "dataURI"], "outputFormat": "PNG", "includeCost": True}
_CONTROL_NET = {
    "model": "civitai:38784@44716",
    "guideImage": PICTURE,
    "weight": 0.8,
    "controlMode": "balanced",
}
_IMAGE = {
    "positivePrompt": "a lighthouse in a storm",
    "negativePrompt": "blurry",
    **_SIZE,
    "model": "civitai:133005@782002",
    "numberResults": 2,
    **_OUTPUT,
    "checkNSFW": True,
    "steps": 30,
    "scheduler": "DPMSolverMultistepScheduler",
    "seed": 7,
    "CFGScale": 7.5,
    "clipSkip": 1,
    "lora": [{"model": "civitai:58390@62833", "weight": 0.5}],
    "embeddings": [{"model": "civitai:1044536@1172007", "weight": 1.0}],
    "refiner": {"model": "civitai:101055@128080", "startStep": 25},
    "ipAdapters": [{"model": "runware:55@1", "weight": 0.6, "guideImage": PICTURE}],
}
_IMAGE_CALLS = (
    SeedCall("image_inference", _IMAGE, legacy="request_images"),
    SeedCall(
        "image_inference",
        {
            "positivePrompt": "the same by night",
            **_SIZE,
            "model": "civitai:133005@782002",
            "seedImage": PICTURE,
            "maskImage": PICTURE,
            "strength": 0.7,
            "outpaint": {"top": 64, "right": 64, "bottom": 64, "left": 64, "blur": 16},
            "usePromptWeighting": True,
            "uploadEndpoint": "http://127.0.0.1:9/put",
        },
        legacy="request_images",
    ),
    SeedCall(
        "image_inference",
        {
            "positivePrompt": "a market",
            "width": 1024,
            "height": 1024,
            "model": "bfl:2@1",
            "providerSettings": {"bfl": {"promptUpsampling": True}},
        },
        legacy="request_images",
    ),
    SeedCall(
        "image_inference",
        {
            "positivePrompt": "a bridge",
            **_SIZE,
            "model": "civitai:133005@782002",
            "steps": 30,
            "controlNet": [
                {**_CONTROL_NET, "startStep": 1, "endStep": 20},
                {**_CONTROL_NET, "startStepPercentage": 0, "endStepPercentage": 80},
            ],
        },
        legacy="request_images",
    ),
)
_UPLOAD = {
    "air": "acme:watercolour@1",
    "name": "Watercolour",
    "uniqueIdentifier": "3f2a" * 16,
    "version": "1.0",
    "format": "safetensors",
    "architecture": "sdxl",
    "tags": ["style"],
    "shortDescription": "Soft colours.",
    "comment": "for tests",
    "private": True,
}
_LINKS = {
    "downloadURL": "https://example.com/watercolour.safetensors",
    "heroImageURL": "https://example.com/watercolour.png",
}
_OLDER_LINKS = {
    "downloadUrl": "https://example.com/watercolour.safetensors",
    "heroImageUrl": "https://example.com/watercolour.png",
}


def _uploads(links: Mapping[str, str]) -> tuple[SeedCall, ...]:
    common = {**_UPLOAD, **links}
    return (
        SeedCall("model_upload", {**common, "category": "controlnet", "conditioning": "canny"}),
        SeedCall(
            "model_upload",
            {
                **common,
                "category": "checkpoint",
                "positiveTriggerWords": "watercolour",
                "defaultCFGScale": 7,
                "defaultStrength": 0.8,
                "defaultSteps": 20,
                "defaultScheduler": "Default",
                "type": "base",
            },
        ),
        SeedCall(
            "model_upload",
            {**common, "category": "lora", "defaultWeight": 1, "positiveTriggerWords": "watercolour"},
        ),
    )


# Section of the documents -> its calls. Where documents 003 and 004 differ, 004 has a key of its own.
CALLS: Mapping[str, Sequence[SeedCall]] = MappingProxyType(
    {
        "Request Image": _IMAGE_CALLS,
        "Parallel Requests (2 or more requests at the same time)": _IMAGE_CALLS,
        "ControlNet Params": _IMAGE_CALLS[3:],
        "Request Image To Text": (
            SeedCall("caption", {"inputImage": PICTURE, "includeCost": True}, legacy="request_image_to_text"),
        ),
        "Remove Image Background": (
            SeedCall(
                "remove_background",
                {
                    "inputImage": PICTURE,
                    **_OUTPUT,
                    "rgba": [255, 255, 255, 0],
                    "postProcessMask": True,
                    "returnOnlyMask": False,
                    "alphaMatting": True,
                    "alphaMattingForegroundThreshold": 240,
                    "alphaMattingBackgroundThreshold": 10,
                    "alphaMattingErodeSize": 10,
                },
                legacy="remove_image_background",
            ),
        ),
        "Upscale Image": (
            SeedCall("upscale", {"inputImage": PICTURE, "upscaleFactor": 2, **_OUTPUT}, legacy="upscale_gan"),
        ),
        "Enhance Prompt": (
            SeedCall(
                "prompt_enhance",
                {"prompt": "a lighthouse", "promptMaxLength": 200, "promptVersions": 3, "includeCost": True},
                legacy="enhance_prompt",
            ),
        ),
        "ControlNet Preprocess": (
            SeedCall(
                "controlnet_preprocess",
                {
                    "inputImage": PICTURE,
                    "preProcessorType": "canny",
                    "height": 256,
                    "width": 256,
                    **_OUTPUT,
                    "highThresholdCanny": 200,
                    "lowThresholdCanny": 100,
                },
                legacy="control_net_pre_process",
            ),
            SeedCall(
                "controlnet_preprocess",
                {"inputImage": PICTURE, "preProcessorType": "openpose", "includeHandsAndFaceOpenPose": True},
                legacy="control_net_pre_process",
            ),
        ),
        "Request Caption": (
            SeedCall("caption", {"model": "memories:1@1", "inputs": {"video": VIDEO}, "includeCost": True}),
        ),
        "Audio Inference": (
            SeedCall(
                "audio_inference",
                {
                    "duration": 10,
                    "outputFormat": "MP3",
                    "numberResults": 2,
                    "includeCost": True,
                    "audioSettings": {"bitrate": 128, "sampleRate": 44100},
                    "outputType": "URL",
                    "model": "elevenlabs:1@1",
                    "positivePrompt": "hip hop",
                    "deliveryMethod": "async",
                },
            ),
        ),
        "Model Upload": _uploads(_LINKS),
        "004 Model Upload": _uploads(_OLDER_LINKS),
        "Photo Maker": (
            SeedCall(
                "photo_maker",
                {
                    "positivePrompt": "img as an astronaut",
                    **_SIZE,
                    "numberResults": 2,
                    "steps": 20,
                    "inputImages": [PICTURE],
                    "style": "No style",
                    "strength": 20,
                    "outputFormat": "PNG",
                    "includeCost": True,
                },
            ),
        ),
        "Model Search": (
            SeedCall(
                "model_search",
                {
                    "search": "portrait",
                    "tags": ["style"],
                    "category": "checkpoint",
                    "architecture": "sdxl",
                    "limit": 5,
                    "offset": 0,
                    "owned": False,
                    "featured": True,
                    "type": "base",
                    "conditioning": "canny",
                    "private": False,
                },
            ),
        ),
        "Image Masking": (
            SeedCall(
                "image_masking",
                {
                    "model": "runware:35@1",
                    "inputImage": PICTURE,
                    "confidence": 0.25,
                    "maskPadding": 4,
                    "maskBlur": 4,
                    "outputFormat": "PNG",
                    "outputType": "URL",
                    "includeCost": True,
                    "uploadEndpoint": "http://127.0.0.1:9/put",
                },
            ),
        ),
        "Changelog": (
            SeedCall(
                "image_inference",
                {
                    "positivePrompt": "a bridge (in fog)++",
                    **_SIZE,
                    "model": "civitai:133005@782002",
                    "promptWeighting": "compel",
                    "acceleratorOptions": {"teaCache": True, "deepCache": True},
                    "outputQuality": 90,
                    "maskMargin": 32,
                    "seed": 2**53 - 1,
                },
                legacy="request_images",
            ),
            SeedCall(
                "image_inference",
                {
                    "positivePrompt": "the same in autumn",
                    **_SIZE,
                    "model": "civitai:133005@782002",
                    "referenceImages": [PICTURE],
                    "layerDiffuse": False,
                    "returnBase64Image": False,
                },
                legacy="request_images",
            ),
            SeedCall(
                "video_inference",
                {
                    "model": "google:3@3",
                    "positivePrompt": "waves",
                    "width": 1280,
                    "height": 720,
                    "referenceVideos": [VIDEO],
                },
            ),
            SeedCall("upscale", {"inputImage": PICTURE, "upscaleFactor": 2, "outputQuality": 90}),
            SeedCall("remove_background", {"inputImage": PICTURE, "outputQuality": 90}),
            SeedCall(
                "controlnet_preprocess",
                {"inputImage": PICTURE, "preProcessorType": "canny", "outputQuality": 90},
            ),
            SeedCall(
                "photo_maker",
                {
                    "positivePrompt": "img by the sea",
                    "negativePrompt": "blurry",
                    **_SIZE,
                    "inputImages": [PICTURE],
                    "style": "No style",
                    "outputQuality": 90,
                },
            ),
            SeedCall(
                "image_masking",
                {"model": "runware:35@1", "inputImage": PICTURE, "maxDetections": 4, "outputQuality": 90},
            ),
            SeedCall("media_storage", {"operation": "upload", "media": PICTURE}),
        ),
    }
)

# What only the changelog names.
OF_THE_CHANGELOG = (
    "acceleratorOptions",
    "layerDiffuse",
    "maskMargin",
    "maxDetections",
    "media",
    "negativePrompt",
    "outputQuality",
    "promptWeighting",
    "referenceImages",
    "referenceVideos",
    "returnBase64Image",
    "seed",
)
