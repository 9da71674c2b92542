"""Batch evaluation: every contender on every image of a split. `scoring` makes predictions, `report` evaluates them."""
