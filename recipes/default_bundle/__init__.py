"""Synthetic timelines: what the default bundle's localizer is trained on.

No photograph takes part. Frames are drawn around the classifier's own class prototypes, composed
into timelines that behave like footage, and asked for by sentences made of dictionary words.
"""
