"""A plain script: one picture, waited for; then a video that nobody waits for."""

from runware_jobs import JobFailed, Jobs

with Jobs() as jobs:
    job = jobs.enqueue(
        {
            "model": "runware:400@1",
            "positivePrompt": "a lighthouse in a storm",
            "width": 1024,
            "height": 1024,
        },
        idempotency_key="lighthouse-1",  # run the script twice: one picture, one bill
    )
    try:
        print(job.wait(timeout_s=60).results[0]["imageURL"], job.cost_usd)
    except JobFailed as failed:
        print(failed.code, failed.parameter, failed.message)

    video = jobs.enqueue(
        {
            "model": "google:3@3",
            "positivePrompt": "ocean waves at sunset",
            "width": 1280,
            "height": 720,
            "duration": 8,
        }
    )
    print(f"runware-jobs jobs watch {video.id}")
