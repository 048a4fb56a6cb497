# SPDX-License-Identifier: GPL-2.0-or-later
"""A registry that an nginx serves by TLS, and who keeps it there.

Knows how an nginx is set up in a namespace, and how the real publisher writes where it
serves; does not know what a registry holds.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.faults.certificates import Authority
from tests.lab.daemon import VPNGATE
from tests.lab.namespaces import Namespace, Process, wait_until

SERVER = "192.0.2.1"

_NGINX = """
daemon off; master_process off; user root; pid {folder}/pid; error_log stderr;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/tmp; proxy_temp_path {folder}/tmp;
    fastcgi_temp_path {folder}/tmp; uwsgi_temp_path {folder}/tmp;
    scgi_temp_path {folder}/tmp;
    server {{
        listen {address}:{port} ssl;
        ssl_certificate {certificate}; ssl_certificate_key {key};
        location / {{
            root {folder}/www;
            types {{ application/json json; }}
            default_type application/octet-stream;
        }}
    }}
}}
"""
_ROWS = "prefix,registration\n203.0.113.0/24,R-1\n2001:db8:a::/48,R-2\n"


def minisign(*arguments: str) -> None:
    """Run minisign to its end."""
    subprocess.run(
        ["minisign", *arguments],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )


@dataclass
class Mirror:
    """One nginx with a folder of its own."""

    namespace: Namespace
    folder: Path
    port: int
    authority: Authority
    _process: Process | None = None

    def __post_init__(self) -> None:
        (self.folder / "www").mkdir(parents=True)
        certificate, key = self.authority.files(SERVER)
        (self.folder / "nginx.conf").write_text(
            _NGINX.format(
                folder=self.folder,
                address=SERVER,
                port=self.port,
                certificate=certificate,
                key=key,
            )
        )

    @property
    def url(self) -> str:
        return f"https://{SERVER}:{self.port}/registry.json"

    def serve(self, publication: Path, *, cut: int = 0) -> None:
        """Puts registry and signature into place; `cut` bytes short."""
        for name in ("registry.json.minisig", "registry.json"):
            content = (publication / name).read_bytes()
            if name == "registry.json" and cut:
                content = content[:-cut]
            new = self.folder / "new"
            new.write_bytes(content)
            new.rename(self.folder / "www" / name)

    def start(self) -> None:
        conf = str(self.folder / "nginx.conf")
        self._process = self.namespace.start(
            "nginx", "-c", conf, "-p", str(self.folder)
        )
        listening = f"{SERVER}:{self.port}"
        wait_until(
            lambda: listening in self.namespace.run("ss", "-Hltn"),
            f"nginx: {listening}",
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None


class Portal:
    """Publishes by `vpngate publish`, where an nginx serves it."""

    def __init__(self, folder: Path, www: Path) -> None:
        self._folder, self._www = folder, www
        self.rows = folder / "registry.csv"
        self.rows.write_text(_ROWS)

    def new_key(self, name: str) -> str:
        """The public half of a key that minisign makes."""
        public, secret = (str(self._folder / f"{name}.{end}") for end in ("pub", "sec"))
        minisign("-G", "-W", "-p", public, "-s", secret)
        return Path(public).read_text().splitlines()[1]

    def publish(self, key: str, *options: str, file: str = "registry.json") -> None:
        wish = ["--name", "portal", "--expires", "7d", *options]
        wish += ["--sign-with", str(self._folder / f"{key}.sec")]
        wish += ["-o", str(self._www / file)]
        subprocess.run(
            [VPNGATE, "publish", str(self.rows), *wish],
            check=True,
            capture_output=True,
        )
