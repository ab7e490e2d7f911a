"""The side services of the platform: schemas, content and serverless, each under a prefix of its own."""
