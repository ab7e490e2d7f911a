"""`run`, `upload` and `train`: one job into the queue, and what came of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .opening import hint_at_worker, with_jobs
from .parameters import Model, Params, ParamsFile, Size, collect
from .showing import show_outcome
from .terminal import DONE, FAILED, AsJson, note, print_json
from .watching import watch_job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runware_jobs.jobs import AsyncJob, AsyncJobs

Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the end, or only enqueue.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", help="Wait no longer; the job goes on.", min=0)
]
WebhookUrl = Annotated[str | None, typer.Option("--webhook-url", help="Where the end is told, signed.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="A tag to find the job by; may be repeated.")]
Priority = Annotated[int, typer.Option("--priority", min=0, max=9, help="9 goes first.")]
Key = Annotated[str | None, typer.Option("--idempotency-key", help="The same key again makes no second job.")]


def run(
    prompt: Annotated[
        str | None, typer.Argument(help="The positive prompt; may stand in --params instead.")
    ] = None,
    *,
    model: Model = None,
    size: Size = None,
    params: Params = None,
    file: ParamsFile = None,
    webhook_url: WebhookUrl = None,
    tag: Tags = None,
    priority: Priority = 5,
    idempotency_key: Key = None,
    wait: Wait = True,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> int:
    """Run a task: an image, video, audio, text, 3D, or a tool.

    Example: runware-jobs run 'a lighthouse at dusk' --model runware:400@1 --size 1024x1024
    """
    collected = collect(file=file, params=params, model=model, size=size)
    if prompt is not None:
        collected["positivePrompt"] = prompt
    options = _options(webhook_url, tag, priority, idempotency_key)
    return _produce(
        lambda jobs: jobs.enqueue(collected, **options), wait=wait, timeout_s=timeout, as_json=as_json
    )


def upload(
    media: Annotated[str, typer.Argument(help="A file, or a URL that the platform fetches.")],
    *,
    tag: Tags = None,
    priority: Priority = 5,
    idempotency_key: Key = None,
    wait: Wait = True,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> int:
    """Upload an image, a video or a sound, to be used by its UUID.

    Example: runware-jobs upload photo.jpg
    """
    source = media if media.startswith(("http://", "https://", "data:")) else Path(media).expanduser()
    if isinstance(source, Path) and not source.is_file():
        raise typer.BadParameter(f"there is no file {media}; example: runware-jobs upload photo.jpg")
    options = _options(None, tag, priority, idempotency_key)
    return _produce(
        lambda jobs: jobs.upload(source, **options), wait=wait, timeout_s=timeout, as_json=as_json
    )


def train(
    dataset: Annotated[
        str | None, typer.Argument(help="UUID or URL of the dataset; may stand in --params.")
    ] = None,
    *,
    model: Model = None,
    air: Annotated[str | None, typer.Option("--air", help="The AIR of the model to be made.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="The name of the model to be made.")] = None,
    params: Params = None,
    file: ParamsFile = None,
    webhook_url: WebhookUrl = None,
    tag: Tags = None,
    priority: Priority = 5,
    idempotency_key: Key = None,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> int:
    """Train a model, as a job that outlives every process.

    Example: runware-jobs train DATASET_UUID --model runware:z-image@style-lora-training --air acme:ink@1 --name Ink
    """
    collected = collect(file=file, params=params, model=model)
    if dataset is not None:
        collected["inputs"] = {**collected.get("inputs", {}), "dataset": dataset}
    target = {key: value for key, value in (("air", air), ("name", name)) if value is not None}
    if target:
        collected["importModel"] = {**collected.get("importModel", {}), **target}
    options = _options(webhook_url, tag, priority, idempotency_key)
    return _produce(
        lambda jobs: jobs.train(collected, **options), wait=wait, timeout_s=timeout, as_json=as_json
    )


def _options(
    webhook_url: str | None, tags: list[str] | None, priority: int, idempotency_key: str | None
) -> dict[str, Any]:
    return {
        "webhook_url": webhook_url,
        "tags": tags or [],
        "priority": priority,
        "idempotency_key": idempotency_key,
    }


def _produce(
    enqueue: "Callable[[AsyncJobs], Awaitable[AsyncJob]]",
    *,
    wait: bool,
    timeout_s: float | None,
    as_json: bool,
) -> int:
    async def work(jobs: "AsyncJobs") -> int:
        job = await enqueue(jobs)
        await hint_at_worker()
        if not wait:
            if as_json:
                print_json(job.to_dict())
            else:
                typer.echo(job.id)
                note(f"Enqueued. To follow it: [bold]runware-jobs jobs watch {job.id}[/bold]")
            return DONE
        note(f"Job {job.id}")
        has_ended = await watch_job(job, timeout_s=timeout_s)
        if as_json:
            print_json(job.to_dict())
        else:
            show_outcome(job)
        if not has_ended:
            note(f"Not ended yet; it goes on: [bold]runware-jobs jobs watch {job.id}[/bold]")
        return DONE if job.state == "succeeded" else FAILED

    return with_jobs(work)
