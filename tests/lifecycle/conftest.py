"""The fixtures about workloads, for keys that trust one."""

from tests.workloads.conftest import workloads

__all__ = ["workloads"]
