"""Hands moments over: to tables, captions, chapters, editors, and as clips."""
