"""Routers that a check of django-oauth-toolkit refuses, because they part its tables."""


class AlphaRouter:
    def db_for_write(self, model, **hints):
        return "alpha"


class CrossDatabaseRouter:
    def db_for_write(self, model, **hints):
        return "beta" if model.__name__ == "AccessToken" else None
