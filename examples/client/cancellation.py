"""Stop waiting for a task, or for a text. The platform goes on with both, and bills them."""

import asyncio

from runware_jobs.client import RunOptions, Runware, RunwareError, StreamOptions


async def main() -> None:
    async with Runware() as client:
        cancel = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, cancel.set)
        try:
            await client.run(
                {
                    "model": "runware:400@1",
                    "positivePrompt": "A detailed scene",
                    "width": 1024,
                    "height": 1024,
                },
                RunOptions(cancel_event=cancel),
            )
        except RunwareError as exc:
            if exc.code == "aborted":
                print("Cancelled")

        enough = asyncio.Event()
        stream = await client.stream(
            {"model": "google:gemma@4-31b", "messages": [{"role": "user", "content": "Count to a hundred"}]},
            StreamOptions(cancel_event=enough),
        )
        try:
            async for word in stream.text_stream:
                print("first word:", word)
                enough.set()
        except RunwareError as exc:
            print(exc.code)


asyncio.run(main())
