# SPDX-License-Identifier: GPL-2.0-or-later
"""Shells on a terminal, in which somebody types and presses Tab.

Knows how bash and zsh are started with nobody's settings and made to write down what
they would complete; does not know what it should be.
"""

import os
import pty
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PATIENCE = 60.0  # seconds, for a machine that is busy
_LOOK = 0.02
_KILL_LINE = b"\x15"

_BASH = """\
source {folder}/share/bash-completion/completions/vpngate
note() {{
    _vpngate "$@"
    printf '%s\\n' "${{COMPREPLY[@]}}" >{found}.new
    mv {found}.new {found}
}}
complete -F note vpngate
bind 'set completion-query-items 0'
bind 'set page-completions off'
touch {found}
"""
# What compadd is given to compare with the word, not to offer, is passed on.
_ZSH = """\
fpath=({folder}/share/zsh/vendor-completions $fpath)
LISTMAX=10000
autoload -Uz compinit
compinit -u -D
compadd() {{
    local -a found
    if (( ! ${{@[(I)-[OAD]]}} )); then
        builtin compadd -O found "$@"
        offered+=($found)
    fi
    builtin compadd "$@"
}}
note() {{
    typeset -ga offered=()
    zle expand-or-complete
    print -rl -- $offered >{found}.new
    mv {found}.new {found}
}}
zle -N note
bindkey '^I' note
touch {found}
"""


class Shell:
    """A shell that waits for a line."""

    def __init__(self, terminal: int, found: Path) -> None:
        self._terminal = terminal
        self._found = found

    def complete(self, line: str) -> set[str]:
        """What it offers for the last word of `line`."""
        os.write(self._terminal, f"{line}\t".encode())
        offered = self.noted()
        os.write(self._terminal, _KILL_LINE)
        # zsh has them as they are put into the line.
        words = offered.replace("\\ ", " ").splitlines()
        return {word.rstrip("=") for word in words if word}

    def noted(self) -> str:
        """What it has written down since; TimeoutError if it never does."""
        until = time.monotonic() + _PATIENCE
        while not self._found.exists():
            if time.monotonic() > until:
                raise TimeoutError("the shell has completed nothing")
            time.sleep(_LOOK)
        text = self._found.read_text()
        self._found.unlink()
        return text


@contextmanager
def shell(name: str, made: Path, scratch: Path) -> Iterator[Shell]:
    """bash or zsh with the completions below `made`, for the length of a with block."""
    found = scratch / "offered"
    settings = {"bash": "bashrc", "zsh": ".zshrc"}[name]
    text = {"bash": _BASH, "zsh": _ZSH}[name].format(folder=made, found=found)
    (scratch / settings).write_text(text)
    options = {
        "bash": ["--noprofile", "--rcfile", str(scratch / settings), "-i"],
        "zsh": ["-d", "-i"],
    }[name]
    program = shutil.which(name)
    assert program is not None
    environment = {
        "PATH": os.defpath,
        "TERM": "dumb",
        "ZDOTDIR": str(scratch),
        "HOME": str(scratch),
        "INPUTRC": os.devnull,
    }
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover
        os.chdir(scratch)
        os.execve(program, [name, *options], environment)
    # A terminal that nobody reads from would stop who writes to it.
    reader = threading.Thread(target=_drain, args=(terminal,), daemon=True)
    reader.start()
    try:
        started = Shell(terminal, found)
        started.noted()
        yield started
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        reader.join()
        os.close(terminal)


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:  # the other end is closed
        pass
