"""One method for everything: the model says which task it is."""

import asyncio

from runware_jobs.client import Runware


async def main() -> None:
    async with Runware() as client:
        images = await client.run(
            {
                "model": "runware:400@1",
                "positivePrompt": "Abstract digital art",
                "width": 1024,
                "height": 1024,
            }
        )
        videos = await client.run(
            {
                "model": "google:3@3",
                "positivePrompt": "Ocean waves at sunset",
                "width": 1280,
                "height": 720,
                "duration": 8,
            }
        )
        texts = await client.run(
            {
                "model": "google:gemma@4-31b",
                "messages": [{"role": "user", "content": "Explain quantum computing"}],
            }
        )
        sounds = await client.run(
            {
                "model": "alibaba:qwen@3-tts-1.7b-voicedesign",
                "positivePrompt": "A calm, friendly young woman with a soft tone",
                "speech": {"text": "Hello world", "voice": "design"},
            }
        )
        print(images[0]["imageURL"], videos[0]["videoURL"], sounds[0]["audioURL"])
        print(texts[0]["text"])


asyncio.run(main())
