"""What every interop test needs: the real gateway, the official clients, DBN files.

The gateway is the binary under test in a process of its own. Records are compared as bytes: what a
test expects is what `databento_dbn` decodes from the published file, what it got is what the official
client handed over.
"""

import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import databento
from databento_dbn import (
    Action, BidAskPair, Compression, DBNDecoder, ErrorMsg, MBP1Msg, Metadata, RType, Schema, Side,
    SType, SymbolMappingMsg, SystemCode, SystemMsg, TradeMsg, VersionUpgradePolicy,
)

ROOT = Path(__file__).resolve().parents[2]
SHARED_DATA = ROOT.parent / "shared" / "data" / "dbn"
CACHE = Path(os.environ.get("TAPEWIRE_INTEROP_CACHE", ROOT / "interop" / ".cache"))
TAPEWIRE = Path(os.environ.get("TAPEWIRE_BIN", ROOT / "bin" / "tapewire"))
RUST_CLIENT = CACHE / "target" / "debug" / "tapewire-interop"
DBN_CLI = CACHE / "cargo" / "bin" / "dbn"

HOST = "127.0.0.1"
ANY_KEY = "db-" + "0" * 24 + "local"  # an open gateway takes any key of this length
PATIENCE = 20  # seconds until something that should happen is called missing
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
CONTROL = (ErrorMsg, SymbolMappingMsg, SystemMsg)
TS_OUT_BYTES = 8


def needs_shared_data():
    import pytest

    return pytest.mark.skipif(
        not SHARED_DATA.is_dir(), reason=f"the real market data is not on this machine ({SHARED_DATA})"
    )


def free_port():
    with socket.socket() as s:
        s.bind((HOST, 0))
        return s.getsockname()[1]


# --- the gateway ---------------------------------------------------------------------------------


# Passes a listener on as systemd does: as descriptor 3, to the process whose number the environment has.
ACTIVATE = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="tapewire.socket")
os.execv(sys.argv[2], sys.argv[2:])
"""


class Gateway:
    """One `tapewire serve` on a data directory; it can be stopped and started again on its port.

    With a listener it inherits that, which stays open through a restart.
    """

    def __init__(self, directory, keys=None, listener=None):
        self.data = directory / "data"
        self.log = directory / "gateway.log"
        self.keys = keys
        self.listener = listener
        self.port = listener.getsockname()[1] if listener else free_port()
        self.admin_port = free_port()
        self.process = None
        self.start()

    def start(self):
        command = [TAPEWIRE, "serve", "--data", self.data, "--listen", f"{HOST}:{self.port}",
                   "--admin", f"{HOST}:{self.admin_port}"]
        if self.keys:
            command += ["--keys", self.keys]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        inherited = []
        if self.listener:
            inherited = [self.listener.fileno()]
            command = [sys.executable, "-c", ACTIVATE, str(*inherited), *command]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, pass_fds=inherited)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with socket.create_connection((HOST, self.port), timeout=1) as client:
                    if not client.recv(1):  # that it is connected may be the inherited listener's doing alone
                        raise ConnectionError("closed without a greeting")
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"the gateway does not listen:\n{self.log.read_text()}") from None
                time.sleep(0.01)  # polls a condition that nobody announces

    def stop(self):
        """Ends the gateway as an operator does, with SIGTERM, and waits for it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the gateway does not end after SIGTERM:\n{self.log.read_text()}") from None
        assert code == 0, f"the gateway ended with {code}:\n{self.log.read_text()}"

    def admin(self, path, method="GET"):
        """Asks the admin listener; returns the body."""
        request = urllib.request.Request(f"http://{HOST}:{self.admin_port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.read().decode()

    def close_sessions(self):
        """Closes every subscriber as an operator does; the listener stays up."""
        for session in json.loads(self.admin("/sessions")):
            self.admin(f"/sessions/{session['id']}/close", method="POST")

    def publish(self, *files, dataset=None, key=ANY_KEY):
        options = ["--dataset", dataset] if dataset else []
        return self.cli("publish", *options, *files, key=key)

    def cli(self, command, *args, key=ANY_KEY):
        """Runs a client command of the binary against this gateway; returns its output."""
        return run([TAPEWIRE, command, "--gateway", f"{HOST}:{self.port}", *args], TAPEWIRE_KEY=key)


def run(command, timeout=120, **env):
    """Runs a command to its end; a failure shows what it said."""
    done = subprocess.run([str(c) for c in command], env=os.environ | env, timeout=timeout,
                          capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def new_key(keys, name, *options):
    """Makes a key with `tapewire key new` and returns its 32 characters."""
    return run([TAPEWIRE, "key", "new", "--keys", keys, *options, name]).strip()


# --- the official Python client ------------------------------------------------------------------


class Session:
    """A `databento.Live` whose records arrive by callback and can be waited for."""

    def __init__(self, gateway, dataset, *, port=None, key=ANY_KEY, **options):
        self.live = databento.Live(key=key, gateway=HOST, port=port or gateway.port, **options)
        self.dataset = dataset
        self.data = []     # bytes of each data record, as published (without ts_out)
        self.control = []  # decoded SystemMsg, ErrorMsg and SymbolMappingMsg
        self.ts_out = []   # of every record, when asked for
        self.arrived = threading.Condition()
        self.live.add_callback(self._on_record)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.live.is_connected():
            self.live.terminate()

    def subscribe(self, schema, symbols="ALL_SYMBOLS", **options):
        self.live.subscribe(self.dataset, schema, symbols=symbols, **options)
        return self

    def start(self):
        self.live.start()
        return self

    def _on_record(self, record):
        with self.arrived:
            if self.live.ts_out:
                self.ts_out.append(record.ts_out)
            if isinstance(record, CONTROL):
                self.control.append(record)
            else:
                self.data.append(published_bytes(bytes(record), self.live.ts_out))
            self.arrived.notify_all()

    def wait(self, condition, what, timeout=PATIENCE):
        with self.arrived:
            if not self.arrived.wait_for(condition, timeout):
                raise AssertionError(f"no {what} within {timeout} s; {self}")

    def wait_data(self, count, timeout=PATIENCE):
        self.wait(lambda: len(self.data) >= count, f"{count} data records", timeout)

    def wait_replayed(self, *schemas, timeout=PATIENCE):
        for schema in schemas:
            text = f"Finished {schema} replay"
            self.wait(lambda: text in self.systems(SystemCode.REPLAY_COMPLETED), text, timeout)

    def systems(self, code):
        return [m.msg for m in self.control if isinstance(m, SystemMsg) and m.code == code]

    def errors(self):
        return [(int(m.code), m.err) for m in self.control if isinstance(m, ErrorMsg)]

    def mappings(self):
        return {m.instrument_id: m.stype_out_symbol for m in self.control if isinstance(m, SymbolMappingMsg)}

    def __str__(self):
        told = [m.msg if isinstance(m, SystemMsg) else m for m in self.control[-10:]]
        return f"{len(self.data)} data records, {len(self.control)} others, the last of them: {told}"


def published_bytes(record, ts_out):
    """A received record as it was published: without the 8 bytes of ts_out that the gateway appends."""
    if not ts_out:
        return record
    return bytes([record[0] - TS_OUT_BYTES // 4]) + record[1:-TS_OUT_BYTES]


# --- the official Rust client --------------------------------------------------------------------


def rust_replay(gateway, dataset, schema, *options, symbols="ALL_SYMBOLS", stype="raw_symbol", key=ANY_KEY):
    """Reads a replay with the Rust program in ../rust; returns the JSON of its stage."""
    process = rust_client(gateway, dataset, schema, *options, symbols=symbols, stype=stype, key=key)
    output, _ = process.communicate(timeout=120)
    return json.loads(output)


def rust_client(gateway, dataset, schema, *options, symbols="ALL_SYMBOLS", stype="raw_symbol", key=ANY_KEY):
    command = [RUST_CLIENT, f"{HOST}:{gateway.port}", dataset, schema, symbols, stype, *options]
    return subprocess.Popen(command, env=os.environ | {"DATABENTO_API_KEY": key}, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)


# --- DBN files -----------------------------------------------------------------------------------


def read_dbn(path):
    """Decodes a file with databento_dbn, upgraded to v3: its metadata and the bytes of each record."""
    return decode_dbn(Path(path).read_bytes())


def decode_dbn(raw, **options):
    compression = Compression.ZSTD if raw.startswith(ZSTD_MAGIC) else Compression.NONE
    decoder = DBNDecoder(upgrade_policy=VersionUpgradePolicy.UPGRADE_TO_V3, compression=compression, **options)
    decoded = decoder.write_and_decode(raw)
    metadata = decoded.pop(0) if options.get("has_metadata", True) else None
    return metadata, [bytes(r) for r in decoded]


def by_schema(metadata, records):
    """The data records of a file as {schema: [bytes]}, in the way a gateway must route them."""
    if metadata.schema is not None:
        return {metadata.schema: records}
    control = {int(t) for t in (RType.ERROR, RType.SYSTEM, RType.SYMBOL_MAPPING)}
    # TBBO shares its rtype with MBP-1 and is only told apart by the metadata.
    schemas = {int(RType.from_schema(s)): s for s in Schema.variants() if s != Schema.TBBO}
    tapes = {}
    for record in records:
        if record[1] not in control:
            tapes.setdefault(schemas[record[1]], []).append(record)
    return tapes


def write_dbn(path, dataset, schema, records, symbols):
    """Writes a DBN v3 file with databento_dbn; symbols is {instrument_id: raw symbol}."""
    day = dt.datetime.fromtimestamp(records[0].ts_event // 10**9, dt.timezone.utc).date()

    def mapping(instrument_id, symbol):
        interval = SimpleNamespace(start_date=day, end_date=day + dt.timedelta(days=30), symbol=str(instrument_id))
        return SimpleNamespace(raw_symbol=symbol, intervals=[interval])

    metadata = Metadata(
        dataset=dataset, schema=Schema.from_str(schema), start=records[0].ts_event, end=records[-1].ts_event + 1,
        stype_in=SType.RAW_SYMBOL, stype_out=SType.INSTRUMENT_ID, symbols=list(symbols.values()), version=3,
        mappings=[mapping(i, s) for i, s in symbols.items()],
    )
    path.write_bytes(metadata.encode() + b"".join(map(bytes, records)))
    return path


SYMBOLS = {11: "ALFA", 12: "BRAVO", 13: "CHARLIE"}
T0 = 1_767_621_600_000_000_000  # 2026-01-05 14:00 UTC
TICK_NS = 250_000_000


def trades(count, first=0, ids=tuple(SYMBOLS)):
    """Trades whose values all follow from their place in the tape, so that none can be mistaken."""
    return [
        TradeMsg(
            publisher_id=1, instrument_id=ids[i % len(ids)], ts_event=T0 + i * TICK_NS,
            price=100_000_000_000 + (i % 997) * 10_000_000, size=1 + i % 500, action=Action.TRADE,
            side=(Side.BID, Side.ASK)[i % 2], depth=0, ts_recv=T0 + i * TICK_NS + 150_000 + i % 7, flags=130,
            ts_in_delta=20_000 + i % 100, sequence=i + 1,
        )
        for i in range(first, first + count)
    ]


def quotes(count, first=0, ids=tuple(SYMBOLS)):
    """MBP-1 updates, each between two trades of `trades`."""
    return [
        MBP1Msg(
            publisher_id=1, instrument_id=ids[i % len(ids)], ts_event=T0 + i * TICK_NS + TICK_NS // 2,
            price=99_990_000_000, size=10 + i % 90, action=Action.ADD, side=Side.BID, depth=0,
            ts_recv=T0 + i * TICK_NS + TICK_NS // 2 + 150_000, flags=130, ts_in_delta=20_000, sequence=i + 1,
            levels=BidAskPair(bid_px=99_990_000_000, ask_px=100_010_000_000, bid_sz=10 + i % 90, ask_sz=7,
                              bid_ct=3, ask_ct=2),
        )
        for i in range(first, first + count)
    ]


def publish_trades(gateway, directory, dataset, count, first=0, ids=tuple(SYMBOLS)):
    """Publishes `trades(...)` as a file; returns the bytes of each record."""
    return publish_records(gateway, directory, dataset, "trades", trades(count, first, ids))


def publish_records(gateway, directory, dataset, schema, records, symbols=SYMBOLS):
    path = directory / f"{schema}-{records[0].sequence}-{len(records)}.dbn"
    used = {r.instrument_id: symbols[r.instrument_id] for r in records}
    gateway.publish(write_dbn(path, dataset, schema, records, used))
    return [bytes(r) for r in records]
