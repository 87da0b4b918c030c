"""API keys, personal access tokens and OAuth tokens under one Bearer header."""

__version__ = "0.1.0"
