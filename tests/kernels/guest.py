# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel of another release, booted under QEMU with this machine's files.

Knows the initial file system that a kernel begins with (busybox, `init`, its modules)
and QEMU's command line; does not know which kernels there are, nor what is run. QEMU
needs no help of the processor (KVM), so it takes some ten times as long as the machine.
"""

import contextlib
import lzma
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_REPOSITORY = _HERE.parent.parent
_MEMORY = 4096  # MiB
_PROCESSORS = 2
# The folders of a kernel's modules that a gateway and its lab may need.
_MODULES = (
    "arch/x86/crypto",
    "crypto",
    "drivers/net/bonding",
    "drivers/net/ppp",
    "drivers/net/slip",
    "drivers/net/vxlan",
    "drivers/net/wireguard",
    "drivers/virtio",
    "fs/9p",
    "fs/fscache",
    "fs/netfs",
    "lib",
    "net",
)
_DRIVERS = "drivers/net"  # only its files


@dataclass(frozen=True)
class Kernel:
    """A kernel as `tests/install-foreign` has unpacked it; `root` is where."""

    name: str
    root: Path

    @property
    def image(self) -> Path:
        """The kernel itself."""
        return next((self.root / "boot").glob("vmlinuz-*"))

    @property
    def release(self) -> str:
        """What `uname -r` prints."""
        return self.image.name.removeprefix("vmlinuz-")

    @property
    def modules(self) -> Path:
        """The folder of its modules."""
        return self.root / "usr/lib/modules" / self.release


@dataclass(frozen=True)
class Outcome:
    """How a command ended in a guest: its exit status, None if it never did."""

    status: int | None
    results: Path


@contextlib.contextmanager
def ran(
    kernel: Kernel, command: str, load: Iterable[str], seconds: float
) -> Iterator[Outcome]:
    """Run a shell script as root under a kernel, for `seconds` at the most.

    The guest has this machine's files, to read only; what it leaves in /tmp/results is
    in the outcome's folder, until the with block ends. `load` are modules that are
    loaded before. What the guest writes to its console is written to stdout.
    """
    with tempfile.TemporaryDirectory(prefix="vpngate-kernel-") as folder:
        work = Path(folder)
        results = work / "results"
        results.mkdir()
        (results / "command").write_text(command)
        archive = _initial(kernel, load, work)
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                _qemu(kernel, archive, results), timeout=seconds, check=False
            )
        status = results / "status"
        ended = status.read_text().strip() if status.exists() else ""
        yield Outcome(int(ended) if ended else None, results)


def _qemu(kernel: Kernel, archive: Path, results: Path) -> list[str]:
    shares = {
        "host": "path=/,readonly=on,multidevs=remap",
        "repository": f"path={_REPOSITORY},readonly=on",
        "results": f"path={results}",
    }
    words = ["qemu-system-x86_64", "-m", str(_MEMORY), "-smp", str(_PROCESSORS)]
    words += ["-accel", "tcg,thread=multi", "-cpu", "max"]
    words += ["-nographic", "-no-reboot", "-nic", "none"]
    words += ["-kernel", str(kernel.image), "-initrd", str(archive)]
    words += ["-append", "console=ttyS0 quiet panic=-1 rdinit=/init"]
    for name, options in shares.items():
        words += ["-fsdev", f"local,id={name},security_model=none,{options}"]
        words += ["-device", f"virtio-9p-pci,fsdev={name},mount_tag={name}"]
    return words


def _initial(kernel: Kernel, load: Iterable[str], work: Path) -> Path:
    """The archive of the initial file system."""
    tree = work / "initial"
    for name in ("bin", "sbin", "proc", "sys", "dev", "host", "run"):
        (tree / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", tree / "bin/busybox")
    (tree / "sbin/modprobe").symlink_to("/bin/busybox")  # the kernel calls it
    shutil.copy(_HERE / "init", tree / "init")
    (tree / "init").chmod(0o755)
    (tree / "modules").write_text("".join(f"{each}\n" for each in load))
    (tree / "place").write_text(f"{_REPOSITORY}\n")
    _copy_modules(kernel, tree)
    archive = work / "initial.cpio"
    names = "\n".join(str(path.relative_to(tree)) for path in tree.rglob("*"))
    with archive.open("wb") as file:
        subprocess.run(
            ["cpio", "--create", "--format=newc", "--quiet"],
            cwd=tree,
            input=names.encode(),
            stdout=file,
            check=True,
        )
    return archive


def _copy_modules(kernel: Kernel, tree: Path) -> None:
    """The modules, unpacked, and the lists of which needs which."""
    target = tree / "lib/modules" / kernel.release
    source = kernel.modules
    found = [
        path for each in _MODULES for path in (source / "kernel" / each).rglob("*.ko*")
    ]
    found += (source / "kernel" / _DRIVERS).glob("*.ko*")
    for path in found:
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".xz":
            copy.with_suffix("").write_bytes(lzma.decompress(path.read_bytes()))
        else:
            shutil.copy(path, copy)
    for path in source.glob("modules.[bo]*"):
        shutil.copy(path, target)
    subprocess.run(["depmod", "--basedir", tree, kernel.release], check=True)
