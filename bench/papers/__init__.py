"""Findings of papers, measured again: one file a finding, `python -m bench.papers.NAME`, minutes on two cores.

python -m bench.papers [--check]     docs/reproductions.md from bench/results/papers/*.json
"""
