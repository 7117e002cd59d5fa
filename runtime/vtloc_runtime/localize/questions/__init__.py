"""Sentences and pictures to vectors."""
