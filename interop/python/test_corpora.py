"""Real data there and back: what the official clients receive is, byte for byte, what was published."""

import hashlib
import itertools

import pytest

from helpers import (
    DBN_CLI, SHARED_DATA, SYMBOLS, Session, by_schema, decode_dbn, needs_shared_data, publish_records, publish_trades, quotes, read_dbn,
    run, rust_replay, trades,
)

REAL_TRADES = SHARED_DATA / "lean" / "equs-trades-20131008.dbn.zst"
REAL_COUNT = 654_140
BIG_REPLAY_SECONDS = 120
DEPRECATED_OHLCV = 0x11  # of legacy files; it does not say its interval, so a gateway refuses it by name

_fresh = itertools.count(1)


def corpus():
    """Every file of the official test corpora once: many are in two repositories."""
    if not SHARED_DATA.is_dir():
        return [pytest.param(None, marks=needs_shared_data(), id="no corpora")]
    seen, params = set(), []
    for path in sorted((SHARED_DATA / "official").rglob("*.db[nz]*")):
        digest = hashlib.sha256(path.read_bytes()).digest()
        if digest not in seen:
            seen.add(digest)
            params.append(pytest.param(path, id=f"{path.parent.name}/{path.name}"))
    return params


def publishable(path, directory):
    """A file that can be published as it is, or for fragments and legacy DBZ one that can be."""
    name = path.name
    if name.endswith(".dbz"):
        upgraded = directory / "from-dbz.dbn"
        run([DBN_CLI, path, "--dbn", "--upgrade", "-o", upgraded])
        return upgraded
    if ".dbn.frag" in name:
        version = next((v for v in (1, 2, 3) if f".v{v}." in name), 2)
        whole = path.parent.parent / "dbn" / "test_data.definition.v3.dbn.zst"
        metadata, _ = read_dbn(whole)  # a fragment has none of its own
        _, records = decode_dbn(path.read_bytes(), has_metadata=False, input_version=version)
        upgraded = directory / "from-fragment.dbn"
        upgraded.write_bytes(metadata.encode() + b"".join(records))
        return upgraded
    return path


@pytest.mark.parametrize("path", corpus())
def test_official_file_arrives_as_databento_dbn_decodes_it(gateway, tmp_path, path):
    file = publishable(path, tmp_path)
    dataset = f"CORPUS.{next(_fresh):04d}"
    metadata, records = read_dbn(file)
    if DEPRECATED_OHLCV in {r[1] for r in records}:
        with pytest.raises(AssertionError, match="bad_rtype at record 0"):
            gateway.publish(file, dataset=dataset)
        return
    gateway.publish(file, dataset=dataset)
    tapes = by_schema(metadata, records)
    assert tapes
    for schema, records in tapes.items():
        check_both_clients(gateway, dataset, schema, records)


@needs_shared_data()
def test_654140_real_trades_arrive_in_both_clients(gateway, tmp_path):
    metadata, records = read_dbn(REAL_TRADES)
    assert len(records) == REAL_COUNT
    gateway.publish(REAL_TRADES)
    with Session(gateway, metadata.dataset) as session:
        session.live.add_stream(tmp_path / "stream.dbn")
        session.subscribe("trades", start=0).start()
        session.wait_replayed("trades", timeout=BIG_REPLAY_SECONDS)
        assert session.data == records
        assert sorted(session.live.symbology_map.values()) == ["AIG", "BAC", "IBM", "SPY"]
    streamed = by_schema(*read_dbn(tmp_path / "stream.dbn"))
    assert streamed == {"trades": records}
    check_rust(rust_replay(gateway, metadata.dataset, "trades"), "trades", records)


@pytest.mark.parametrize("options", [(), ("ts_out",)], ids=["plain", "ts_out"])
def test_rust_client_reads_generated_tapes(gateway, dataset, tmp_path, options):
    for schema, generated in (("trades", trades(5_000)), ("mbp-1", quotes(5_000))):
        records = publish_records(gateway, tmp_path, dataset, schema, generated)
        seen = rust_replay(gateway, dataset, schema, *options)
        check_rust(seen, schema, records)
        assert seen["mappings"] == {"11": "ALFA", "12": "BRAVO", "13": "CHARLIE"}
        assert (seen["ts_out"][0] is not None) == bool(options)


@pytest.mark.parametrize("asked", ["ALL_SYMBOLS", ",".join(SYMBOLS.values())])
def test_rust_client_unsubscribes_from_one_symbol(gateway, dataset, tmp_path, asked):
    records = publish_trades(gateway, tmp_path, dataset, 100)
    gone, symbol = next(iter(SYMBOLS.items()))
    seen = rust_replay(gateway, dataset, "trades", f"without={symbol}", symbols=asked)
    assert seen["records"] == sum(int.from_bytes(r[4:8], "little") != gone for r in records)
    assert "Unsubscription request for trades data succeeded" in seen["systems"]


@pytest.mark.parametrize(("symbols", "stype"), [("ALFA,CHARLIE", "raw_symbol"), ("11,13", "instrument_id")])
def test_rust_client_reads_some_symbols(gateway, dataset, tmp_path, symbols, stype):
    published = publish_records(gateway, tmp_path, dataset, "trades", trades(900))
    wanted = [r for r in published if r[4] in (11, 13)]
    check_rust(rust_replay(gateway, dataset, "trades", symbols=symbols, stype=stype), "trades", wanted)


def check_both_clients(gateway, dataset, schema, records):
    with Session(gateway, dataset).subscribe(schema, start=0).start() as session:
        session.wait_replayed(schema)
        assert session.data == records
        assert session.errors() == []
    check_rust(rust_replay(gateway, dataset, str(schema)), schema, records)


def check_rust(seen, schema, records):
    assert seen["stage"] == "replayed", seen
    assert f"Finished {schema} replay" in seen["systems"]
    assert seen["errors"] == []
    assert seen["records"] == len(records)
    assert seen["sha256"] == hashlib.sha256(b"".join(records)).hexdigest()
