# SPDX-License-Identifier: GPL-2.0-or-later
"""What the Ansible role writes is TOML; tests/systemd has Ansible play it."""

import json
import tomllib

from jinja2 import Environment

from tests.house import ROOT

ROLE = ROOT / "config" / "ansible" / "roles" / "vpngate"


def test_texts_beyond_ascii_are_written_as_they_are() -> None:
    """Beyond the basic plane JSON's escapes are two halves, which TOML has not."""
    settings = {
        "http": {"contact": 'write to "us" \N{E-MAIL SYMBOL} \u00e9\n'},
        "registry": {"min_prefix_length": {"ipv4": 9}, "allow_special": False},
    }
    # As Ansible sets it; its to_json is json.dumps with an encoder for its own types.
    jinja = Environment(trim_blocks=True, autoescape=False)
    jinja.filters["to_json"] = json.dumps
    template = jinja.from_string((ROLE / "templates" / "vpngate.toml.j2").read_text())
    written = template.render(ansible_managed="-", vpngate_settings=settings)
    assert tomllib.loads(written) == settings
