"""From jobs to records: lists of videos, workers, the results file."""
