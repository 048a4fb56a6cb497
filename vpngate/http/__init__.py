# SPDX-License-Identifier: GPL-2.0-or-later
"""HTTP for the pages, health and metrics: one small server.

Knows HTTP/1.1 as far as short answers to short requests need it; does not know
what the pages say. No access log: nobody's visit is recorded.
"""

from vpngate.http.pages import health_page, metrics_page
from vpngate.http.request_response import Request, Response
from vpngate.http.routing import PageHandler
from vpngate.http.server import HttpServer

__all__ = [
    "HttpServer",
    "PageHandler",
    "Request",
    "Response",
    "health_page",
    "metrics_page",
]
