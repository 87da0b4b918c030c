"""API keys, personal access tokens and OAuth tokens under one Bearer header."""

__all__ = ["__version__"]

#: The version of the package, by semantic versioning.
__version__ = "1.0.0"
