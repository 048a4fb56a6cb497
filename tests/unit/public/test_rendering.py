# SPDX-License-Identifier: GPL-2.0-or-later
"""Templates: read when the program starts, and never again."""

import importlib
from typing import Any

import pytest
from jinja2 import TemplateNotFound

from tests.unit.public import sample
from tests.unit.public.test_status_page import shown
from vpngate.public import rendering


def test_every_part_of_a_page_is_read_before_the_first_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An upgrade puts other files in their place while the daemon goes on."""
    fresh = importlib.reload(rendering)

    def gone(_environment: Any, name: str) -> Any:
        raise TemplateNotFound(name)

    monkeypatch.setattr(fresh._ENVIRONMENT.loader, "get_source", gone)
    assert "</html>" in shown(sample.enforcing())
