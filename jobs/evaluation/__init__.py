"""Batch evaluation: every checkpoint on every image of a split, as tables, pictures and a page."""
