"""System checks of the settings pages: a site's base template, and a recent login."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.template import Engine, TemplateDoesNotExist
from django.template.base import Template
from django.template.loader_tags import BlockNode, ExtendsNode

from ..conf import AppSettings, app_settings
from ..conf.setting import given
from ..web import sudo


@register("apikeys")
def check_pages(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    name = app_settings.BASE_TEMPLATE
    messages = [] if name is None or AppSettings.BASE_TEMPLATE.error() else list(_base(name))
    if getattr(settings, "ROOT_URLCONF", None) and not AppSettings.SUDO.error():
        messages += _sudo()
    return messages


def _sudo() -> Iterator[CheckMessage]:
    if isinstance(sudo.get_sudo(), sudo.AllauthSudo) and sudo.reauthentication_url() is None:
        yield Warning(
            "APIKEYS['SUDO'] is AllauthSudo, but there is no URL named account_reauthenticate. "
            "The settings pages ask for the password instead.",
            hint="Include allauth.urls in your URLs. Or set SUDO to "
            "'apikeys.web.sudo.PasswordSudo', or to your own class.",
            id="apikeys.W091",
        )


def _base(name: str) -> Iterator[CheckMessage]:
    try:
        engine = Engine.get_default()
        blocks = _blocks(engine.get_template(name), engine)
    except TemplateDoesNotExist as error:
        yield Error(
            f"APIKEYS['BASE_TEMPLATE'] is {name!r}, but there is no template {str(error)!r}.",
            hint="Name a Django template that your own pages extend, such as 'base.html'.",
            id="apikeys.E096",
        )
        return
    block = app_settings.BASE_BLOCK
    if blocks is not None and block not in blocks:
        yield Error(
            f"APIKEYS['BASE_BLOCK'] is {block!r}, but {name} has no such block.",
            hint=f"Name the block for the content of a page. Available: {', '.join(blocks)}.",
            id="apikeys.E097",
        )
    if "PAGES_CSP" not in given():
        yield Warning(
            "APIKEYS['BASE_TEMPLATE'] is set, and the settings pages send a strict "
            "Content-Security-Policy. It blocks inline scripts and styles, and files from other "
            "hosts.",
            hint="If your base template needs them, set APIKEYS['PAGES_CSP'] to your own policy, "
            "or to None to leave it to your middleware. If not, set it to 'strict'.",
            id="apikeys.W090",
        )


def _blocks(template: Template, engine: Engine) -> list[str] | None:
    """Return the names of all blocks, or ``None`` if a variable names the parent."""
    blocks: Any = template.nodelist.get_nodes_by_type(BlockNode)
    extends: Any = template.nodelist.get_nodes_by_type(ExtendsNode)
    names = [node.name for node in blocks]
    for node in extends:
        if not isinstance(node.parent_name.var, str):
            return None
        above = _blocks(engine.get_template(node.parent_name.var), engine)
        if above is None:
            return None
        names += above
    return list(dict.fromkeys(names))
