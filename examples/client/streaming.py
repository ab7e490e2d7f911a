"""Text while it is written; afterwards the whole of it, with its price."""

import asyncio

from runware_jobs.client import Runware


async def main() -> None:
    async with Runware() as client:
        stream = await client.stream(
            {
                "model": "google:gemma@4-31b",
                "messages": [{"role": "user", "content": "Tell me a story about a robot"}],
                "includeUsage": True,
                "includeCost": True,
            }
        )
        async for word in stream.text_stream:
            print(word, end="", flush=True)
        async for thought in stream.reasoning_stream:
            print(f"[thinking] {thought}")

        result = await stream.result()
        print(f"\n{result.finish_reason}: {len(result.text)} characters, {result.usage}, {result.cost} USD")


asyncio.run(main())
