"""A web app that enqueues and checks later: `uvicorn web_app:app`, beside `runware-jobs up`."""

from fastapi import FastAPI

from runware_jobs import AsyncJobs

app = FastAPI()
jobs = AsyncJobs()


@app.post("/pictures")
async def paint(prompt: str, user: int) -> dict[str, str]:
    job = await jobs.enqueue(
        {"model": "runware:400@1", "positivePrompt": prompt, "width": 1024, "height": 1024},
        metadata={"user": user},
        tags=["pictures"],
    )
    return {"id": job.id}  # answered at once; the picture is painted by a worker


@app.get("/pictures/{job_id}")
async def look(job_id: str) -> dict[str, object]:
    job = await jobs.get(job_id)
    return {"state": job.state, "pictures": [result["imageURL"] for result in job.results]}
