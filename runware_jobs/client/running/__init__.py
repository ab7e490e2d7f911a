"""One task from parameters to results, and the questions that are repeated until they are answered."""
