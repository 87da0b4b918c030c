"""The router and the policy of a site on a replica."""

from apikeys.policy import Policy


class Router:
    def db_for_read(self, model, **hints):
        # Django, not apikeys, reads sessions. Without this, no one could log in.
        return "default" if model._meta.app_label == "sessions" else "replica"

    def db_for_write(self, model, **hints):
        return "default"


class WithSuspensions(Policy):
    """A site's own rule, read with managers that do not choose a database."""

    def roles(self, user, project=None):
        return set() if self._is_suspended(user) else super().roles(user, project)

    def projects(self, user, required=()):
        found = super().projects(user, required)
        return found.none() if self._is_suspended(user) else found

    def _is_suspended(self, user):
        return user.groups.filter(name="suspended").exists()
