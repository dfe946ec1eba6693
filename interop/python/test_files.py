"""Files: what lies in the data directory and what `tapewire subscribe -o` writes is DBN to every tool."""

import csv
import json
import subprocess
import time

import pandas as pd
import pytest
from databento import DBNStore

from helpers import DBN_CLI, HOST, SYMBOLS, TAPEWIRE, publish_trades, read_dbn, run, trades, write_dbn

BATCH = 100_000          # trades published at a time, 4.8 MB
MOST_BATCHES = 15        # a segment is sealed long before
SEAL_SECONDS = 2         # sealing happens beside the publishing


@pytest.fixture(scope="module")
def tape(gateway, tmp_path_factory):
    """A dataset with at least one sealed segment: (its sealed files in order, the published records)."""
    directory, dataset = tmp_path_factory.mktemp("tape"), "SEALED.ONE"
    published = []
    for _ in range(MOST_BATCHES):
        published += publish_trades(gateway, directory, dataset, BATCH, first=len(published))
        deadline = time.monotonic() + SEAL_SECONDS
        while time.monotonic() < deadline:
            if sealed := sorted(f for f in gateway.data.rglob("*.dbn") if dataset in str(f)):
                return sealed, published
            time.sleep(0.05)  # polls a directory
    raise AssertionError(f"no sealed segment after {len(published)} records in {gateway.data}")


def published_frame(directory, count):
    path = write_dbn(directory / "published.dbn", "SEALED.ONE", "trades", trades(count), SYMBOLS)
    return DBNStore.from_file(path).to_df()


def test_sealed_segments_hold_the_published_records(tape):
    sealed, published = tape
    stored = []
    for file in sealed:
        metadata, records = read_dbn(file)
        assert (metadata.version, metadata.dataset, metadata.schema) == (3, "SEALED.ONE", "trades")
        stored += records
    assert stored == published[: len(stored)]


def test_sealed_segment_is_a_dataframe_with_symbols(tape, tmp_path):
    sealed, _ = tape
    store = DBNStore.from_file(sealed[0])
    frame = store.to_df()
    assert set(frame["symbol"]) == set(SYMBOLS.values())
    pd.testing.assert_frame_equal(frame, published_frame(tmp_path, len(frame)))
    assert store.metadata.start <= frame.index.min().value, "ts_recv is the index of a trade"
    assert store.metadata.end > frame.index.max().value


def test_dbn_tool_reads_a_sealed_segment(tape, tmp_path):
    sealed, published = tape
    check_with_dbn_tool(sealed[0], tmp_path, len(read_dbn(sealed[0])[1]))


def test_recorded_subscription_opens_as_a_store(gateway, dataset, tmp_path):
    record(gateway, dataset, tmp_path / "x.dbn", publish_trades(gateway, tmp_path, dataset, 600))
    frame = DBNStore.from_file(tmp_path / "x.dbn").to_df(schema="trades")
    pd.testing.assert_frame_equal(frame, published_frame(tmp_path, 600))


def test_dbn_tool_reads_a_recorded_subscription(gateway, dataset, tmp_path):
    record(gateway, dataset, tmp_path / "x.dbn", publish_trades(gateway, tmp_path, dataset, 600))
    check_with_dbn_tool(tmp_path / "x.dbn", tmp_path, 600)


def test_a_piped_stream_opens_as_a_store_with_names(gateway, dataset, tmp_path):
    publish_trades(gateway, tmp_path, dataset, 600)
    stream = subprocess.run([TAPEWIRE, "subscribe", "--gateway", f"{HOST}:{gateway.port}", "--dataset", dataset, "--schema", "trades",
                             "--start", "0", "--until-replayed", "--format", "dbn"], capture_output=True, check=True, timeout=120).stdout
    pd.testing.assert_frame_equal(DBNStore.from_bytes(stream).to_df(schema="trades"), published_frame(tmp_path, 600))
    as_json = subprocess.run([DBN_CLI, "-", "--json", "--schema", "trades"], input=stream, capture_output=True, check=True, timeout=120).stdout
    assert [json.loads(line)["sequence"] for line in as_json.splitlines()] == [trade.sequence for trade in trades(600)]


def record(gateway, dataset, path, published):
    gateway.cli("subscribe", "--dataset", dataset, "--schema", "trades", "--start", "0", "--until-replayed",
                "--format", "dbn", "-o", path)
    _, records = read_dbn(path)
    assert [r for r in records if r[1] == published[0][1]] == published


def check_with_dbn_tool(path, directory, count):
    """Row count, and the values of the first and last trade, in CSV and in JSON."""
    as_csv, as_json = directory / "x.csv", directory / "x.json"
    select = ["--map-symbols", "--schema", "trades"]
    run([DBN_CLI, path, "--csv", "--pretty", *select, "-o", as_csv])
    run([DBN_CLI, path, "--json", *select, "-o", as_json])
    rows = list(csv.DictReader(as_csv.open()))
    lines = [json.loads(line) for line in as_json.open()]
    assert (len(rows), len(lines)) == (count, count)
    for index in (0, count - 1):
        (trade,) = trades(1, first=index)
        expected = (trade.price / 1e9, trade.size, trade.sequence, SYMBOLS[trade.instrument_id])
        row, line = rows[index], lines[index]
        assert (float(row["price"]), int(row["size"]), int(row["sequence"]), row["symbol"]) == expected
        assert (int(line["price"]) / 1e9, line["size"], line["sequence"], line["symbol"]) == expected
        assert pd.Timestamp(row["ts_event"]).value == trade.ts_event
