"""The calls that both clients make. Each is written once, with the names that both share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.differential.observing import GIVEN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.differential.observing import Session

BOTH = ("rest", "websocket")
PICTURE = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
# A seed, or where there is none a UUID of its own, makes the platform draw and write the same for both.
NAMED, OTHER = ({"taskUUID": task_uuid} for task_uuid in GIVEN)
IMAGE = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 512, "height": 512, "seed": 7}
VIDEO = {
    "model": "google:3@3",
    "positivePrompt": "ocean waves",
    "width": 1280,
    "height": 720,
    "duration": 8,
    "seed": 7,
}
TEXT = {
    "model": "google:gemma@4-31b",
    "messages": [{"role": "user", "content": "What is a tide?"}],
    "seed": 7,
    "includeCost": True,
    "includeUsage": True,
}


@dataclass(frozen=True, slots=True)
class Call:
    """One call: what is done, and the faults, the emulator's settings and the client's options that go with it."""

    do: Callable[[Session], Awaitable[Any]]
    faults: tuple[dict[str, Any], ...] = ()
    platform: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    transports: tuple[str, ...] = BOTH
    in_any_order: bool = False
    shows_registry: bool = False


def _run(params: dict[str, Any], **options: Any) -> Callable[[Session], Awaitable[Any]]:
    async def do(session: Session) -> Any:
        return await session.client.run(params, session.listening(**options))

    return do


def _utility(method: str, params: dict[str, Any]) -> Callable[[Session], Awaitable[Any]]:
    async def do(session: Session) -> Any:
        return await getattr(session.client, method)(params)

    return do


def _content(method: str, *arguments: Any) -> Callable[[Session], Awaitable[Any]]:
    async def do(session: Session) -> Any:
        return await getattr(session.client.content, method)(*arguments)

    return do


def _fault(kind: str, *, on: str = "submit", count: int | None = None, **values: Any) -> dict[str, Any]:
    return {"on": on, "count": count, "action": {"kind": kind, **values}}


async def _stream(session: Session) -> Any:
    stream = await session.client.stream(TEXT)
    pieces = [piece async for piece in stream.text_stream]
    result = await stream.result()
    return {
        "pieces": pieces,
        "text": result.text,
        "finish_reason": result.finish_reason,
        "usage": result.usage,
        "cost": result.cost,
    }


async def _stream_of_two(session: Session) -> Any:
    return await (await session.client.stream({**TEXT, "numberResults": 2})).text()


async def _task_again(session: Session) -> Any:
    first = await session.client.run({**IMAGE, "deliveryMethod": "sync"})
    return await session.client.run({**IMAGE, "taskUUID": first[0]["taskUUID"]})


async def _look_up(session: Session) -> Any:
    done = await session.client.run({**IMAGE, "deliveryMethod": "sync"})
    name = {"taskUUID": done[0]["taskUUID"]}
    return [await session.client.get_response(name), await session.client.get_task_details(name)]


async def _delete_media(session: Session) -> Any:
    stored = await session.client.media_storage({"operation": "upload", "media": PICTURE})
    return await session.client.media_storage({"operation": "delete", "media": stored[0]["mediaUUID"]})


async def _cancelled(session: Session) -> Any:
    cancel = asyncio.Event()
    running = asyncio.ensure_future(session.client.run(IMAGE, session.listening(cancel_event=cancel)))
    asyncio.get_running_loop().call_later(0.3, cancel.set)
    return await running


async def _cancelled_before(session: Session) -> Any:
    cancel = asyncio.Event()
    cancel.set()
    return await session.client.run(IMAGE, session.listening(cancel_event=cancel))


async def _two_at_once(session: Session) -> Any:
    return await asyncio.gather(
        session.client.run({**IMAGE, **NAMED}), session.client.run({**IMAGE, **OTHER, "seed": 8})
    )


async def _progress(session: Session) -> Any:
    results = await session.client.run(TRAINING, session.listening())
    told = [name for name, _ in session.heard]
    values = [item["progress"] for name, item in session.heard if name == "on_progress"]
    session.heard.clear()  # which values are seen is chance; their order is not
    return {
        "results": results,
        "progress was told": bool(values),
        "each value once, rising": values == sorted(set(values)),
        "the result came last": told[-1] == "on_result" and told.count("on_result") == 1,
    }


def _invoke(*arguments: Any, **options: Any) -> Callable[[Session], Awaitable[Any]]:
    async def do(session: Session) -> Any:
        return await session.client.invoke(
            "demo-app", *arguments, options=session.kit.invoke_options(**options)
        )

    return do


async def _invoked_and_fetched(session: Session) -> Any:
    accepted = await session.client.invoke(
        "demo-app", "echo", {"n": 1}, options=session.kit.invoke_options(wait=False)
    )
    while (task := await session.client.get_task("demo-app", accepted["id"]))["status"] == "pending":
        pass
    return [accepted["id"], task]


async def _refresh(session: Session) -> Any:
    await session.client.refresh_registry()
    return await session.client.run({**IMAGE, "model": "bfl-flux-2-dev", "deliveryMethod": "sync"})


async def _validated(session: Session) -> Any:
    session.kit.clear_validator_cache()
    params = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": "wide", "height": "high"}
    return await session.client.run(params, session.listening(validate=True))


async def _validated_and_right(session: Session) -> Any:
    session.kit.clear_validator_cache()
    return await session.client.run({**IMAGE, "deliveryMethod": "sync"}, session.listening(validate=True))


UPLOAD = {
    "category": "lora",
    "architecture": "sdxl",
    "format": "safetensors",
    "air": "differential:1@1",
    "name": "style",
    "version": "1",
    "downloadURL": "https://models.example/style.safetensors",
}
TRAINING = {
    "model": "runware:flux-1-dev@style-lora-training",
    "inputs": {"dataset": "https://data.example/set.zip"},
    "importModel": {"air": "differential:2@1", "name": "trained"},
}

CALLS: dict[str, Call] = {
    # ---- results -----------------------------------------------------------------------------
    "image by AIR": Call(_run(IMAGE)),
    "image by slug": Call(_run({**IMAGE, "model": "bfl-flux-2-dev"})),
    "image with its task type": Call(_run({**IMAGE, "taskType": "imageInference"})),
    "image of a community model": Call(
        _run({**IMAGE, "model": "civitai:133005@782002", "taskType": "imageInference"})
    ),
    "three images": Call(_run({**IMAGE, "numberResults": 3, "includeCost": True})),
    "image, sync": Call(_run({**IMAGE, "deliveryMethod": "sync"})),
    "three images, sync": Call(_run({**IMAGE, "deliveryMethod": "sync", "numberResults": 3})),
    "image as base64": Call(_run({**IMAGE, "outputType": "base64Data", "outputFormat": "JPG"})),
    "image as data URI, sync": Call(
        _run({**IMAGE, "outputType": "dataURI", "outputFormat": "PNG", "deliveryMethod": "sync"})
    ),
    "video": Call(_run({**VIDEO, "includeCost": True})),
    "audio": Call(
        _run(
            {
                "model": "alibaba:qwen@3-tts-1.7b-voicedesign",
                "positivePrompt": "a calm voice",
                "speech": {"text": "hello", "voice": "design"},
                **NAMED,
            }
        )
    ),
    "text": Call(_run(TEXT)),
    "text, sync": Call(_run({**TEXT, "deliveryMethod": "sync"})),
    "two texts": Call(_run({**TEXT, "numberResults": 2}, timeout=4_000)),
    "stream": Call(_stream),
    "caption": Call(
        _run({**NAMED, "model": "runware:150@2", "taskType": "caption", "inputs": {"image": PICTURE}})
    ),
    "upscale": Call(_run({"model": "runware:504@1", "taskType": "upscale", "inputs": {"image": PICTURE}})),
    "background removed": Call(
        _run({"model": "runware:109@1", "taskType": "removeBackground", "inputs": {"image": PICTURE}})
    ),
    "controlnet guide": Call(
        _run(
            {
                "model": "runware:controlnet@canny",
                "taskType": "controlNetPreprocess",
                "inputs": {"image": PICTURE},
            }
        )
    ),
    "mask": Call(_run({"model": "runware:35@1", "taskType": "imageMasking", "inputs": {"image": PICTURE}})),
    "vector": Call(_run({"model": "recraft:1@1", "taskType": "vectorize", "inputs": {"image": PICTURE}})),
    "enhanced prompts": Call(
        _run({**NAMED, "model": "runware:promptenhance@1", "taskType": "promptEnhance", "prompt": "a cat"})
    ),
    "training": Call(_run(TRAINING), platform={"latencies": {"training": 60}}),
    "progress of a training": Call(_progress, platform={"latencies": {"training": 250}}),
    "two images at once": Call(_two_at_once, in_any_order=True),
    "3d": Call(
        _run({"model": "tripo:v3@0", "taskType": "3dInference", "positivePrompt": "a chair", "seed": 7})
    ),
    # ---- utilities ---------------------------------------------------------------------------
    "image upload": Call(_utility("image_upload", {"image": PICTURE})),
    "media upload": Call(_utility("media_storage", {"operation": "upload", "media": PICTURE})),
    "media deleted": Call(_delete_media),
    "model search": Call(_utility("model_search", {"search": "flux", "limit": 2})),
    "model upload": Call(_utility("model_upload", UPLOAD)),
    "account": Call(_utility("account_management", {"operation": "getDetails"})),
    "earlier task": Call(_look_up),
    "unknown task": Call(_utility("get_response", NAMED), transports=("rest",)),
    "registry refreshed": Call(_refresh, transports=("rest",), shows_registry=True),
    # ---- services ----------------------------------------------------------------------------
    "models": Call(_content("list_models", {"category": "image", "limit": 2}), transports=("rest",)),
    "models, searched": Call(
        _content(
            "list_models",
            {"capability": "io:text-to-image", "creator": "black-forest-labs", "search": "flux"},
        ),
        transports=("rest",),
    ),
    "models, a page": Call(
        _content("list_models", {"paginate": True, "limit": 2, "offset": 1}), transports=("rest",)
    ),
    "model": Call(_content("get_model", "bfl-flux-2-dev"), transports=("rest",)),
    "model by AIR": Call(_content("get_model", "runware:400@1"), transports=("rest",)),
    "model that is unknown": Call(_content("get_model", "nobody-knows-it"), transports=("rest",)),
    "examples of a model": Call(_content("get_model_examples", "bfl-flux-2-dev"), transports=("rest",)),
    "prices of a model": Call(_content("get_model_pricing", "bfl-flux-2-dev"), transports=("rest",)),
    "guides of a model": Call(_content("get_model_guides", "bfl-flux-2-dev"), transports=("rest",)),
    "capabilities": Call(_content("list_capabilities"), transports=("rest",)),
    "collections": Call(_content("list_collections", {"category": "image"}), transports=("rest",)),
    "creators": Call(_content("list_creators"), transports=("rest",)),
    "creator": Call(_content("get_creator", "google"), transports=("rest",)),
    "serverless": Call(_invoke("echo", {"n": 1}), transports=("rest",)),
    "serverless, sync": Call(_invoke("echo", {"n": 1}, delivery_method="sync"), transports=("rest",)),
    "serverless, fetched later": Call(_invoked_and_fetched, transports=("rest",)),
    "serverless, failed": Call(_invoke("fail", {"message": "no"}), transports=("rest",)),
    "serverless, unknown endpoint": Call(_invoke("nowhere", {}), transports=("rest",)),
    # ---- refusals and failures ---------------------------------------------------------------
    "refused parameter": Call(_run({**IMAGE, "width": 7})),
    "refused parameter, sync": Call(_run({**IMAGE, "width": 7, "deliveryMethod": "sync"})),
    "unknown model without task type": Call(_run({**IMAGE, "model": "nobody:1@1"})),
    "refused key": Call(_run(IMAGE), options={"api_key": "bad-key"}),
    "credits used up": Call(_run(IMAGE), platform={"balance_usd": 0}),
    "queue full once": Call(_run(IMAGE), faults=(_fault("status", status=429, count=1),)),
    "queue full for ever": Call(_run(IMAGE), faults=(_fault("status", status=429),)),
    "safety refusal": Call(_run(IMAGE), faults=(_fault("refuse", code="contentPolicyViolation"),)),
    "failed item, form A": Call(
        _run({**IMAGE, "numberResults": 2}),
        faults=(_fault("item_error", code="providerError", items=[1], form="A"),),
    ),
    "failed item, form B": Call(
        _run({**IMAGE, "numberResults": 2}),
        faults=(_fault("item_error", code="providerError", items=[1], form="B"),),
    ),
    "timeout at the provider": Call(
        _run(IMAGE), faults=(_fault("item_error", code="timeoutProvider", form="B"),)
    ),
    "500 once": Call(_run(IMAGE), faults=(_fault("status", status=500, count=1),)),
    "500 for ever": Call(_run(IMAGE), faults=(_fault("status", status=500),)),
    "500 without a body": Call(
        _run(IMAGE), faults=(_fault("status", status=500, body="empty"),), transports=("rest",)
    ),
    "502 as HTML": Call(
        _run(IMAGE), faults=(_fault("status", status=502, body="html"),), transports=("rest",)
    ),
    "answer lost": Call(_run(IMAGE), faults=(_fault("lose_answer", count=1),)),
    "socket dropped in mid-run": Call(
        _run(IMAGE), faults=(_fault("drop_socket", count=1),), transports=("websocket",)
    ),
    "socket dropped in mid-run, sync": Call(
        _run({**IMAGE, "deliveryMethod": "sync"}),
        faults=(_fault("drop_socket", count=1),),
        transports=("websocket",),
    ),
    "timeout": Call(_run(IMAGE, timeout=2_500), faults=(_fault("stuck"),)),
    "cancelled": Call(_cancelled, faults=(_fault("stuck"),)),
    "cancelled before it began": Call(_cancelled_before),
    "two texts in a stream": Call(_stream_of_two, transports=("rest",)),
    "task UUID used twice": Call(_task_again),
    "validation finds errors": Call(_validated, transports=("rest",)),
    "validation finds nothing": Call(_validated_and_right, transports=("rest",)),
}
