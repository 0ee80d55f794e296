"""Suites that use the pytest plugin, for tests of it and of its documentation."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

__all__ = ["plugin_arguments", "run_suite"]


def plugin_arguments() -> list[str]:
    """What makes pytest load the plugin: nothing where it is installed."""
    is_installed = bool(entry_points(group="pytest11", name="bcast"))
    return [] if is_installed else ["-p", "bcast.pytest_plugin"]


def run_suite(
    pytester: pytest.Pytester, suite: str, *arguments: str, process: bool = False
) -> pytest.RunResult:
    """Runs a suite of one file with the plugin, in this process unless said, and shows all."""
    pytester.makepyfile(test_suite=suite)
    run = pytester.runpytest_subprocess if process else pytester.runpytest_inprocess
    return run(*plugin_arguments(), "-rsfE", "-W", "error", "-p", "no:cacheprovider", *arguments)
