"""Suites that use the pytest plugin, for tests of it and of its documentation."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

__all__ = ["run_suite"]


def run_suite(
    pytester: pytest.Pytester, suite: str, *arguments: str, process: bool = False
) -> pytest.RunResult:
    """Runs a suite of one file with the plugin, in this process unless said, and shows all."""
    pytester.makepyfile(test_suite=suite)
    is_installed = bool(entry_points(group="pytest11", name="bcast"))
    plugin = () if is_installed else ("-p", "bcast.pytest_plugin")
    run = pytester.runpytest_subprocess if process else pytester.runpytest_inprocess
    return run(*plugin, "-rsfE", "-W", "error", "-p", "no:cacheprovider", *arguments)
