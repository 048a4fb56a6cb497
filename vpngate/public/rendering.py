# SPDX-License-Identifier: GPL-2.0-or-later
"""From a template and what it shows to an answer: the only room that knows Jinja.

Knows that every value is escaped, that the style is part of the page, and which header
keeps a browser from loading or running anything; does not know what is shown.
"""

import base64
import hashlib
from http import HTTPStatus
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vpngate.http.request_response import Response
from vpngate.public import charts, wording

_ENVIRONMENT = Environment(
    loader=PackageLoader("vpngate.public"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_ENVIRONMENT.filters |= {
    name: getattr(wording, name)
    for name in ("amount", "moment", "number", "rate", "span", "tunnel")
}
_ENVIRONMENT.globals |= {
    "charts": charts,
    "class_names": wording.CLASS_NAMES,
    "halts": wording.HALTS,
}


def _source(name: str) -> str:
    loader = _ENVIRONMENT.loader
    assert loader is not None  # noqa: S101 - given above
    return loader.get_source(_ENVIRONMENT, name)[0]


_STYLE = Markup(_source("style.css"))  # noqa: S704 - our own file, in <style>
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# Those that others extend and import, too: an upgrade puts other files in their place
# while this program goes on.
_LOADED = {
    name.removesuffix(".html"): _ENVIRONMENT.get_template(name)
    for name in _ENVIRONMENT.list_templates(extensions=["html"])
}
# CSP 3: nothing is loaded and nothing runs; this one style, and forms of our own.
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
}


def html(
    template: str,
    status: HTTPStatus = HTTPStatus.OK,
    headers: dict[str, str] | None = None,
    **shown: Any,
) -> Response:
    """The page of a template (`status`, `check`) as an answer."""
    text = _LOADED[template].render(style=_STYLE, **shown)
    kind = "text/html; charset=utf-8"
    return Response(status, text.encode(), kind, {**HEADERS, **(headers or {})})
