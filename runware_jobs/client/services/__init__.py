"""What stands beside the platform: schemas and registry, the catalogue, serverless apps."""
