"""Measurements, each a command: `python -m bench.NAME --json`.  Results with date and machine are in results/."""
