# SPDX-License-Identifier: GPL-2.0-or-later
"""What bash and zsh complete behind `vpngate`: commands, flags, choices, files.

Knows the two shells' ways; does not know a command. Made once, when a package is built:
a Tab starts no Python.
"""

import textwrap
from collections.abc import Iterable, Iterator

from release.manual.commands import Command, Option, commands, program

_MADE = "# SPDX-License-Identifier: GPL-2.0-or-later\n# Made by `make manual`.\n"


def bash() -> str:
    """A script for /usr/share/bash-completion/completions/vpngate."""
    words = [command.name for command in commands()] + _flags([program()])
    cases = "".join(_bash_case(command) for command in commands())
    return f"""\
# bash completion for vpngate
{_MADE}
_vpngate() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
    local command= each words= files=
    COMPREPLY=()
    # What is typed as --flag=value comes in three words.
    if [[ $word == = ]]; then
        word=
    elif [[ $before == = ]]; then
        before=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    for each in "${{COMP_WORDS[@]:1:COMP_CWORD - 1}}"; do
        [[ $each == -* ]] || {{ command=$each; break; }}
    done
    case $command in
    '')
        words='{" ".join(words)}'
        ;;
{cases}    esac
    if [[ $files && $word != -* ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    fi
}}
complete -F _vpngate vpngate
"""


def _bash_case(command: Command) -> str:
    lines = [f"{command.name})"]
    values = [option for option in command.options if option.value]
    if values:
        lines.append("    case $before in")
        for option in values:
            what = "return"  # a number, a duration, a name: nothing to offer
            if option.is_file:
                what = "files=yes"
            elif option.choices:
                what = f"words='{' '.join(option.choices)}'"
            lines.append(f"    {' | '.join(option.flags)}) {what} ;;")
        lines.append("    *)")
        lines += [f"        {line}" for line in _bash_words(command)]
        lines += ["        ;;", "    esac"]
    else:
        lines += [f"    {line}" for line in _bash_words(command)]
    lines.append("    ;;")
    return textwrap.indent("\n".join(lines) + "\n", "    ")


def _bash_words(command: Command) -> Iterator[str]:
    yield f"words='{' '.join(_flags([command]))}'"
    if any(operand.is_file for operand in command.operands):
        yield "files=yes"


def zsh() -> str:
    """A function for /usr/share/zsh/vendor-completions/_vpngate."""
    described = "\n".join(
        f"            {_quoted(f'{each.name}:{each.summary}')}" for each in commands()
    )
    cases = "".join(_zsh_case(command) for command in commands())
    own = _continued(
        [
            *(_zsh_option(option) for option in program().options),
            "'1: :->command'",
            "'*:: :->operands'",
        ],
        8,
    )
    return f"""\
#compdef vpngate
{_MADE}
_vpngate() {{
    local curcontext=$curcontext state state_descr line
    typeset -A opt_args
    _arguments -C {own}
    case $state in
    command)
        local -a known=(
{described}
        )
        _describe -t commands command known
        ;;
    operands)
        case $line[1] in
{cases}        esac
        ;;
    esac
}}

_vpngate "$@"
"""


def _zsh_case(command: Command) -> str:
    specs = [_zsh_option(option) for option in command.options]
    for place, operand in enumerate(command.operands, start=1):
        where = "*" if operand.many else str(place)
        what = "_files" if operand.is_file else ""
        specs.append(_quoted(f"{where}:{operand.name.lower()}:{what}"))
    return f"""\
        {command.name})
            _arguments {_continued(specs, 16)}
            ;;
"""


def _zsh_option(option: Option) -> str:
    about = option.about.replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    value = ""
    if option.value:
        what = "_files" if option.is_file else ""
        if option.choices:
            what = f"({' '.join(option.choices)})"
        value = f":{option.value.replace('|', ' or ').lower()}:{what}"
    tail = _quoted(f"[{about}]{value}")
    forms = [f"{flag}{_joint(flag, option)}" for flag in option.flags]
    if not option.value:  # help, the version and the like end all else
        alone = "--help" in option.flags or "--version" in option.flags
        apart = "- *" if alone else " ".join(option.flags)
    else:
        apart = " ".join(option.flags)
    if option.again:
        return f"'*'{forms[0]}{tail}"
    named = f"{{{','.join(forms)}}}" if len(forms) > 1 else forms[0]
    return f"{_quoted(f'({apart})')}{named}{tail}"


def _joint(flag: str, option: Option) -> str:
    """How a value may hang on a flag: `--flag=value`, `-fvalue`."""
    if not option.value:
        return ""
    return "=" if flag.startswith("--") else "+"


def _flags(of: Iterable[Command]) -> list[str]:
    return [flag for each in of for option in each.options for flag in option.flags]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _continued(parts: Iterable[str], columns: int) -> str:
    return f" \\\n{' ' * columns}".join(["", *parts]).lstrip(" ")
