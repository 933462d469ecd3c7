"""Answers the interop tests with libtorrent: a JSON list of requests on
standard input, a JSON list of answers on standard output."""
import json
import os
import sys
import time

import libtorrent as lt

KINDS = {"hybrid": 0, "v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only}


def create(r):
    files = lt.file_storage()
    lt.add_files(files, r["path"])
    t = lt.create_torrent(files, r["piece_length"], KINDS[r["kind"]])
    lt.set_piece_hashes(t, os.path.dirname(r["path"]))
    with open(r["file"], "wb") as f:
        f.write(lt.bencode(t.generate()))
    return show(r)


def show(r):
    with open(r["file"], "rb") as f:
        top = lt.bdecode(f.read())
    t = lt.torrent_info(r["file"])
    h = t.info_hashes()
    files = t.files()
    return {
        "v1": str(h.v1) if h.has_v1() else "",
        "v2": str(h.v2) if h.has_v2() else "",
        "name": t.name(),
        "piece_length": t.piece_length(),
        "pieces": t.num_pieces(),
        "files": [
            {"path": files.file_path(i), "length": files.file_size(i), "root": root(files, i)}
            for i in range(files.num_files())
            if not files.file_flags(i) & lt.file_flags_t.flag_pad_file
        ],
        "layers": {k.hex(): v.hex() for k, v in top.get(b"piece layers", {}).items()},
        "trackers": [t.url for t in t.trackers()],
        "private": t.priv(),
    }


def root(files, i):
    r = str(files.root(i))
    return "" if r == "0" * 64 else r


def check(r):
    """Hashes the content in a folder against the torrent."""
    s = lt.session({"listen_interfaces": "", "enable_dht": False, "enable_lsd": False,
                    "enable_upnp": False, "enable_natpmp": False})
    h = s.add_torrent({"ti": lt.torrent_info(r["file"]), "save_path": r["dir"]})
    end = time.time() + 60
    while time.time() < end:
        st = h.status()
        if st.errc.value() or st.is_seeding:
            break
        if st.state == lt.torrent_status.downloading:
            break  # checked, and something did not match
        s.wait_for_alert(50)
        s.pop_alerts()
    return {"complete": bool(st.is_seeding), "error": st.errc.message() if st.errc.value() else ""}


OPERATIONS = {"create": create, "show": show, "check": check}

answers = []
for request in json.load(sys.stdin):
    try:
        answers.append(OPERATIONS[request["op"]](request))
    except RuntimeError as e:
        answers.append({"error": str(e)})
json.dump(answers, sys.stdout)
