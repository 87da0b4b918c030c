from django.apps import AppConfig


class TeamsConfig(AppConfig):
    name = "tests.swapped.teams"
    label = "teams"
