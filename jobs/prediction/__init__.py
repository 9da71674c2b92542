"""Predictions of pictures without labels. Scoring is that of `jobs.evaluation`; this package reads pictures for it."""
