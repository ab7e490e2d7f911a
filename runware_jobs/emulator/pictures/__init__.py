"""Pictures drawn from a prompt and a seed: the same bytes for the same words, seed and size."""
