"""Run ``python -m apikeys.cli --server https://api.example.com --client-id …``."""

from apikeys.cli import App

App("apikeys")()
