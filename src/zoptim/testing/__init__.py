"""For people who write methods: the laws every method must keep, and functions with known minima."""

from .case import Trial
from .functions import Problem, noisy, objective
from .laws import Finding, Report, check_method

__all__ = ["Finding", "Problem", "Report", "Trial", "check_method", "noisy", "objective"]
