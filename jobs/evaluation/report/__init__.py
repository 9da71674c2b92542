"""From predictions to a report: tables, metrics, tests, plots and the page."""
