"""Declare the settings of what ends or pauses a key by itself."""

from collections.abc import Mapping
from typing import Final

from . import rules
from .rules import YES_OR_NO, Rule
from .setting import Setting, Table

#: The events in the life of a user, in ``WHEN_USER``.
EVENTS: Final = ("password_changed", "deactivated", "membership_lost", "logged_out")
#: The actions that can follow.
ACTIONS: Final = ("nothing", "pause", "revoke")


def _is_when_user(given: object) -> bool:
    return isinstance(given, Mapping) and all(
        event in EVENTS and action in ACTIONS for event, action in given.items()
    )


class EndSettings(Table):
    PAUSE_SUCCESSOR = Setting(
        default=False,
        rule=YES_OR_NO,
        about="Whether the use of a rotated key after its overlap pauses the keys that replaced "
        "it. See [uses after the end](endings.md#uses-after-the-end).",
        check="E144",
    )
    WHEN_IDLE = Setting(
        "pause",
        rules.one_of("pause", "revoke"),
        'Whether `manage.py apikeys notify` pauses (`"pause"`) or revokes (`"revoke"`) a key that '
        "is not used for [`Policy.longest_idle`](policy.md). See "
        "[unused keys](endings.md#unused-keys).",
        check="E145",
    )
    ENFORCE_LONGEST_LIFETIME = Setting(
        default=False,
        rule=YES_OR_NO,
        about="Whether a key that is older than [`Policy.longest_lifetime`](policy.md) is refused, "
        "whatever its expiry. See "
        "[the longest lifetime](endings.md#the-longest-lifetime).",
        check="E146",
    )
    WHEN_USER = Setting(
        {},
        Rule[Mapping[str, str]](
            f"a dictionary from {', '.join(map(repr, EVENTS))} to "
            f"{', '.join(map(repr, ACTIONS[:-1]))} or {ACTIONS[-1]!r}",
            _is_when_user,
            lambda given: given if _is_when_user(given) else {},
        ),
        "The effect of an event in the life of a user on the user's tokens and on the applications "
        'that the user authorized: `{"password_changed": "revoke"}`. Events that are missing do '
        "nothing. See [tied to the person](endings.md#tied-to-the-person).",
        check="E147",
        hint="Set it to, for example, {'deactivated': 'pause'}.",
    )


end_settings: Final = EndSettings()
