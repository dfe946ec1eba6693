#!/usr/bin/env python3
"""A whole tapewire adapter, Python standard library only:  adapter.py HOST PORT DATASET STREAM

It publishes three trades. Run it again with the same STREAM and it sends none: the gateway has them.
The key comes from TAPEWIRE_KEY (32 characters; an open gateway on loopback takes any)."""
import hashlib, os, socket, struct, sys, time

KEY = os.environ.get("TAPEWIRE_KEY", "db-" + "0" * 29)
TICKS = [("BTCUSDT", 62480.01, 150, "B"), ("ETHUSDT", 2686.5, 3, "A"), ("BTCUSDT", 62480.02, 7, "A")]
NONE_U64, SCHEMA_TRADES, RTYPE_TRADE, RTYPE_SYSTEM = 2**64 - 1, 4, 0x00, 0x17


def main(host, port, dataset, stream):
    try:
        sock = socket.create_connection((host, int(port)))
    except OSError as e:
        sys.exit(f"no gateway at {host}:{port} ({e}); start one with: tapewire serve")
    lines = sock.makefile("r", encoding="ascii", newline="\n")

    def read():  # a line is fields: key=value|key=value
        line = lines.readline()
        if not line or "error=" in line:
            sys.exit(f"the gateway refused: {line or 'it closed the connection'}")
        return dict(f.partition("=")[::2] for f in line.strip().split("|"))

    read()  # lsg_version=...
    proof = hashlib.sha256(f"{read()['cram']}|{KEY}".encode()).hexdigest()
    sock.sendall(f"auth={proof}-{KEY[-5:]}|dataset={dataset}|encoding=dbn|role=producer"
                 f"|producer=python-demo|stream={stream}|ack=written\n".encode())
    accepted = int(read()["accepted"])  # records of this stream that the gateway already has
    ids = {}
    for symbol in sorted({tick[0] for tick in TICKS}):
        sock.sendall(f"instrument={symbol}|price_increment=0.01|lot=0.00001\n".encode())
        ids[symbol] = int(read()["instrument_id"])
    sock.sendall(b"start_session\n" + struct.pack(  # then DBN metadata: version 3, no symbol lists
        "<3sBI16sHQQQBBBH53xI4I", b"DBN", 3, 120, dataset.encode(), SCHEMA_TRADES, time.time_ns(), NONE_U64,
        0, 0xFF, 0, 0, 71, 0, 0, 0, 0, 0))
    for n, (symbol, price, lots, side) in enumerate(TICKS[accepted:], accepted + 1):
        now = time.time_ns()
        sock.sendall(struct.pack(  # length in words of 4, rtype, venue, instrument, ts_event, price * 1e9, ...
            "<BBHIQqIccBBQiI", 48 // 4, RTYPE_TRADE, 1, ids[symbol], now, round(price * 1e9), lots,
            b"T", side.encode(), 0, 0, now, 0, n))
    sock.sendall(struct.pack("<BBHIQ303sB", 320 // 4, RTYPE_SYSTEM, 0, 0, time.time_ns(), b"end_session", 255))
    while accepted < len(TICKS):  # ack=N: N records of this stream are in the tape
        accepted = int(read().get("ack", accepted))
    print(f"{accepted} records of stream {stream} are in {dataset}")


if __name__ == "__main__":
    if len(sys.argv) != 5 or not sys.argv[2].isdigit():
        print("usage: adapter.py HOST PORT DATASET STREAM, e.g. adapter.py 127.0.0.1 13000 DEMO.SPOT 1", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
