"""Segments: who is in, live and as of any instant, kept incrementally."""
