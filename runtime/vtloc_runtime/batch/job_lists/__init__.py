"""What to do: arguments, lists, annotations and folders to jobs."""
