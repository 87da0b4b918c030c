"""Template tags that put the pages into the site's own base template (``BASE_TEMPLATE``).

``apikeys/base.html`` is a whole document. Inside a base template only its title, its ``head`` and
its ``part`` are used. They are rendered first, so blocks of the two templates may have the same
names.
"""

from typing import Any

from django import template
from django.template.base import NodeList, Parser, Token
from django.template.context import make_context
from django.template.loader_tags import BlockNode
from django.utils.safestring import SafeString

from ..conf import app_settings

register = template.Library()


class PartNode(template.Node):
    """The part of the document that stands inside a base template."""

    def __init__(self, nodelist: NodeList) -> None:
        self.nodelist = nodelist

    def render(self, context: template.Context) -> SafeString:
        return self.nodelist.render(context)


class LayoutNode(template.Node):
    """The whole document, or the site's base template around a part of it."""

    def __init__(self, nodelist: NodeList) -> None:
        self.nodelist = nodelist

    def render(self, context: template.Context) -> SafeString:
        if app_settings.BASE_TEMPLATE is None:
            return self.nodelist.render(context)
        nodes: Any = self.nodelist.get_nodes_by_type(BlockNode)
        blocks = {node.name: node for node in nodes}
        (part,) = self.nodelist.get_nodes_by_type(PartNode)
        with context.push(is_embedded=True):
            page = {
                "title": blocks["title"].render(context),
                "head": blocks["head"].render(context),
                "part": part.render(context),
            }
        return _in_base(page, context)


def _in_base(page: dict[str, str], context: Any) -> SafeString:
    """Render the base template around ``page``, with the variables of every page of the site."""
    text = "{% extends apikeys.base %}"
    text += f"{{% block {app_settings.BASE_BLOCK} %}}"
    text += "{% include 'apikeys/_embedded.html' %}{% endblock %}"
    if (title := app_settings.BASE_TITLE_BLOCK) is not None:
        text += f"{{% block {title} %}}{{{{ apikeys.title }}}}{{% endblock %}}"
    # The page has shown the messages. Django would show them again.
    variables = {"apikeys": page | {"base": app_settings.BASE_TEMPLATE}, "messages": ()}
    shell: template.Template = context.template.engine.from_string(text)
    return shell.render(make_context(variables, getattr(context, "request", None)))


@register.tag
def layout(parser: Parser, token: Token) -> LayoutNode:
    """Enclose the whole document."""
    nodelist = parser.parse(("endlayout",))
    parser.delete_first_token()
    return LayoutNode(nodelist)


@register.tag
def part(parser: Parser, token: Token) -> PartNode:
    """Enclose the part that stands inside a base template."""
    nodelist = parser.parse(("endpart",))
    parser.delete_first_token()
    return PartNode(nodelist)
