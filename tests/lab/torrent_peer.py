# SPDX-License-Identifier: GPL-2.0-or-later
"""One BitTorrent peer that speaks uTP alone, to one other peer.

Knows libtorrent; does not know namespaces (`torrent.py` runs it in them). Nothing is
announced, mapped or looked for: the leecher is told where the seeder is. Says
"listening" when it does, and at SIGTERM prints what it has downloaded since its
first second, as one JSON object. `python -m tests.lab.torrent_peer seed|leech ...`
"""

import argparse
import json
import random
import signal
import time
from pathlib import Path

import libtorrent as lt

_NAME = "content"
_SIZE = 96 << 20  # bytes: more than is asked for in the time of a test
_PIECE = 256 << 10
_SEED = 4500
_PATIENCE = 10.0  # seconds
_PAUSE = 0.05  # seconds
_SLOW_START = 1.0  # seconds
# Milliseconds of queue that uTP aims at. A peer that waits for its turn on a busy
# machine looks like a queue: with the usual 100 it would yield to that.
_TARGET_DELAY = 500


def _content(folder: Path) -> None:
    block = random.Random(_SEED).randbytes(_PIECE)
    with (folder / _NAME).open("wb") as file:
        for number in range(_SIZE // _PIECE):
            file.write(number.to_bytes(8, "big") + block[8:])


def make(folder: Path) -> None:
    """The content, and the torrent that describes it, into a folder."""
    _content(folder)
    files = lt.list_files(str(folder / _NAME))
    torrent = lt.create_torrent(files, _PIECE, flags=lt.create_torrent.v1_only)
    lt.set_piece_hashes(torrent, str(folder))
    (folder / f"{_NAME}.torrent").write_bytes(lt.bencode(torrent.generate()))


_POLICIES = {
    "forced": lt.enc_policy.pe_forced,
    "either": lt.enc_policy.pe_enabled,
    "off": lt.enc_policy.pe_disabled,
}


def _session(listen: str, rate: int, encryption: str) -> lt.session:
    policy = _POLICIES[encryption]
    session = lt.session(
        {
            "listen_interfaces": listen,
            "download_rate_limit": rate,
            "rate_limit_utp": True,
            "out_enc_policy": int(policy),
            "in_enc_policy": int(policy),
            "allowed_enc_level": int(lt.enc_level.rc4),
            "enable_outgoing_utp": True,
            "enable_incoming_utp": True,
            "enable_outgoing_tcp": False,
            "enable_incoming_tcp": False,
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "allow_multiple_connections_per_ip": True,
            "no_connect_privileged_ports": False,
            "unchoke_interval": 1,
            "choking_algorithm": int(lt.choking_algorithm_t.fixed_slots_choker),
            "unchoke_slots_limit": -1,
            "tick_interval": 50,
            "stop_tracker_timeout": 0,
            "utp_target_delay": _TARGET_DELAY,
        }
    )
    deadline = time.monotonic() + _PATIENCE
    while not session.is_listening():
        if time.monotonic() > deadline:
            raise SystemExit(f"not listening on {listen}")
        time.sleep(_PAUSE)
    return session


def _download(handle: lt.torrent_handle, stop: list[int]) -> dict[str, float]:
    """Bytes of content until SIGTERM, in how many seconds: the first second aside."""
    begin = counted = 0.0
    first = 0
    while not stop:
        now, received = time.monotonic(), handle.status().total_payload_download
        if received and not begin:
            begin = now
            print("downloading", flush=True)  # noqa: T201 - the answer of a program
        elif begin and not counted and now - begin >= _SLOW_START:
            counted, first = now, received
        time.sleep(_PAUSE)
    received = handle.status().total_payload_download - first
    return {"received": received, "seconds": time.monotonic() - counted}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("seed", "leech"))
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--torrent", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--peer", default="")
    parser.add_argument("--rate", type=int, default=0, help="bytes a second")
    parser.add_argument("--encryption", choices=_POLICIES, default="either")
    args = parser.parse_args()
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    session = _session(f"{args.address}:{args.port}", args.rate, args.encryption)
    wanted = lt.add_torrent_params()
    wanted.ti = lt.torrent_info(str(args.torrent))
    wanted.save_path = str(args.folder)
    wanted.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if args.what == "seed":
        wanted.flags |= lt.torrent_flags.seed_mode
    handle = session.add_torrent(wanted)
    print("listening", flush=True)  # noqa: T201
    if args.what == "leech":
        handle.connect_peer((args.peer, args.port))
    print(json.dumps(_download(handle, stop)))  # noqa: T201


if __name__ == "__main__":
    main()
