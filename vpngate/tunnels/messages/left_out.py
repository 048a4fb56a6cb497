# SPDX-License-Identifier: GPL-2.0-or-later
"""What scapy loads beside what a second reader asks of it, and is spared here.

Knows which modules of scapy take as long to load as all the others, and that nothing of
them is ever asked: the makers of network cards and of Bluetooth devices, which it would
keep a copy of in the user's home, names in files of this machine (an installed
Wireshark's list of makers takes longest of all), the certificates that a payload of
IKEv2 may hold, which nobody dissects here, ciphers: nothing is decrypted, and IP, where
a module asks for no more of it than a port: a second reader begins behind the ports.
The classes that decide are scapy's own, untouched. Does not know any protocol.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any, NoReturn

_NAMES_OF_DEVICES: Mapping[str, Mapping[str, Any]] = {
    "scapy.libs.manuf": {"DATA": ""},
    "scapy.libs.bluetoothids": {"DATA": ""},
    # Scapy for a person at a terminal, which makes folders in the user's home.
    "scapy.main": {"SCAPY_CACHE_FOLDER": None},
}


@contextmanager
def without_names_of_devices() -> Iterator[None]:
    """Have scapy begin without them, and keep nothing of what it reads."""
    with _empty(_NAMES_OF_DEVICES):
        _load("scapy.data", {"open": _no_file})
        yield


@contextmanager
def without_ciphers() -> Iterator[None]:
    """Have scapy find no cryptography, unless somebody has loaded it anyway."""
    if "cryptography" in sys.modules:
        yield
        return
    # Importing a module that is None fails as if it were not there (importlib).
    sys.modules["cryptography"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["cryptography"]


@contextmanager
def without_certificates(as_what: type) -> Iterator[None]:
    """Have scapy's classes for certificates be another class of it."""
    with _empty({"scapy.layers.x509": {"X509_Cert": as_what, "X509_CRL": as_what}}):
        yield


@contextmanager
def without_ip(as_what: type) -> Iterator[None]:
    """Have scapy's class for UDP be another class of it, unless IP is loaded anyway.

    What is loaded meanwhile is not found behind real UDP by its port.
    """
    with _empty({"scapy.layers.inet": {"UDP": as_what}}):
        yield


@contextmanager
def _empty(modules: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
    """For now, modules that hold this and nothing else; but not those already loaded.

    Whoever imports one of them later gets it as it is.
    """
    empty = {}
    for name, content in modules.items():
        if name not in sys.modules:
            empty[name] = sys.modules[name] = ModuleType(name)
            empty[name].__dict__.update(content)
    try:
        yield
    finally:
        for name in empty:
            del sys.modules[name]


def _no_file(path: str, *_: Any, **__: Any) -> NoReturn:
    """Names of protocols and services are scapy's own then, or none: like in a jail."""
    raise FileNotFoundError(path)


def _load(name: str, instead: Mapping[str, Any]) -> None:
    """Load a module, unless it is loaded, with these in the place of built-ins."""
    spec = None if name in sys.modules else find_spec(name)
    if spec is None or spec.loader is None:
        return
    module = sys.modules[name] = module_from_spec(spec)
    module.__dict__.update(instead)
    spec.loader.exec_module(module)
