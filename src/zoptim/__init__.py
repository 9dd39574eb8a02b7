"""Zeroth-order optimisation: improve anything you can run, by forward passes only."""
