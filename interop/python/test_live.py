"""The official Python client on live data and replay: databento.Live against the running gateway."""

import time

import databento
import pytest
from databento_dbn import ErrorMsg, SymbolMappingMsg, SystemCode, SystemMsg

from helpers import (
    ANY_KEY, CONTROL, HOST, SYMBOLS, Session, publish_records, publish_trades, published_bytes, quotes, trades,
)

LATE = {21: "DELTA"}
ITERATION_SECONDS = 60  # a lost record must not hang the suite; heartbeats keep the loop turning


def iterate(client):
    """Iterates as a user does, with the client's queue opened first.

    databento 0.87 opens it only after it has sent start_session, and drops what comes before. A gateway
    on the same machine answers within that moment now and then, and the beginning would be missing.
    """
    client._session._dbn_queue.enable()
    deadline = time.monotonic() + ITERATION_SECONDS
    for record in client:
        assert time.monotonic() < deadline, f"not done after {ITERATION_SECONDS} s"
        yield record


def test_callbacks_replay_then_live_without_a_seam(gateway, dataset, tmp_path):
    past = publish_trades(gateway, tmp_path, dataset, 1_000)
    with Session(gateway, dataset).subscribe("trades", start=0).start() as session:
        session.wait_replayed("trades")
        assert session.data == past
        live = publish_trades(gateway, tmp_path, dataset, 500, first=1_000)
        session.wait_data(1_500)
        assert session.data == past + live
        assert session.errors() == []


def test_iteration_replay_then_live_without_a_seam(gateway, dataset, tmp_path):
    expected = publish_trades(gateway, tmp_path, dataset, 1_000)
    client = databento.Live(key=ANY_KEY, gateway=HOST, port=gateway.port)
    client.subscribe(dataset, "trades", start=0)
    got = []
    for record in iterate(client):
        if isinstance(record, SystemMsg) and record.code == SystemCode.REPLAY_COMPLETED:
            assert record.msg == "Finished trades replay"
            assert got == expected
            expected += publish_trades(gateway, tmp_path, dataset, 500, first=1_000)
        elif not isinstance(record, CONTROL):
            got.append(bytes(record))
        if len(got) == 1_500:
            break
    assert got == expected


def test_session_begins_with_v3_metadata_and_the_subscription_ack(gateway, dataset, tmp_path):
    publish_trades(gateway, tmp_path, dataset, 10)
    with Session(gateway, dataset).subscribe("trades", start=0).start() as session:
        session.wait_replayed("trades")
        metadata = session.live.metadata
        assert (metadata.version, metadata.dataset, metadata.schema) == (3, dataset, None)
        assert (metadata.ts_out, metadata.symbols, metadata.mappings) == (False, [], {})
        assert len(metadata.encode()) == 128
        assert int(session.live.session_id) >= 0
        assert session.systems(SystemCode.SUBSCRIPTION_ACK) == ["Subscription request 0 for trades data succeeded"]


def test_live_subscription_without_start_gets_no_past(gateway, dataset, tmp_path):
    publish_trades(gateway, tmp_path, dataset, 100)
    with Session(gateway, dataset).subscribe("trades").start() as session:
        session.wait(lambda: session.systems(SystemCode.SUBSCRIPTION_ACK), "subscription ack")
        live = publish_trades(gateway, tmp_path, dataset, 50, first=100)
        session.wait_data(50)
        assert session.data == live


def test_start_is_the_first_record_not_before_it(gateway, dataset, tmp_path):
    past = trades(100)
    publish_records(gateway, tmp_path, dataset, "trades", past)
    with Session(gateway, dataset).subscribe("trades", start=past[40].ts_event).start() as session:
        session.wait_replayed("trades")
        assert session.data == [bytes(r) for r in past[40:]]


@pytest.mark.parametrize(
    ("symbols", "stype", "ids"),
    [
        (["ALFA"], "raw_symbol", [11]),
        (["ALFA", "CHARLIE"], "raw_symbol", [11, 13]),
        ([12, 13], "instrument_id", [12, 13]),
        ("ALL_SYMBOLS", "raw_symbol", [11, 12, 13]),
    ],
)
def test_only_the_subscribed_symbols_arrive_in_order(gateway, dataset, tmp_path, symbols, stype, ids):
    past = publish_trades(gateway, tmp_path, dataset, 900)
    wanted = [r for r in past if int.from_bytes(r[4:8], "little") in ids]
    session = Session(gateway, dataset).subscribe("trades", symbols, stype_in=stype, start=0).start()
    with session:
        session.wait_replayed("trades")
        assert session.data == wanted
        live = publish_trades(gateway, tmp_path, dataset, 30, first=900)
        wanted += [r for r in live if int.from_bytes(r[4:8], "little") in ids]
        session.wait_data(len(wanted))
        assert session.data == wanted
        assert session.live.symbology_map == {i: SYMBOLS[i] for i in ids}


def test_mapping_comes_before_the_first_record_of_its_instrument(gateway, dataset, tmp_path):
    publish_trades(gateway, tmp_path, dataset, 30)
    unmapped, seen = [], set()
    client = databento.Live(key=ANY_KEY, gateway=HOST, port=gateway.port)
    client.subscribe(dataset, "trades", start=0)
    for record in iterate(client):
        if isinstance(record, SystemMsg) and record.code == SystemCode.REPLAY_COMPLETED:
            break
        if not isinstance(record, CONTROL):
            seen.add(record.instrument_id)
            if record.instrument_id not in client.symbology_map:
                unmapped.append(record.instrument_id)
    assert (seen, unmapped) == (set(SYMBOLS), [])


def test_unresolved_symbol_is_told_and_arrives_once_it_exists(gateway, dataset, tmp_path):
    past = publish_trades(gateway, tmp_path, dataset, 30)
    with Session(gateway, dataset).subscribe("trades", ["ALFA", "DELTA"], start=0).start() as session:
        session.wait_replayed("trades")
        assert session.errors() == [], "the official client would take its user's own stop() for a failure"
        (waiting,) = [m for m in session.control if isinstance(m, SystemMsg) and m.msg.startswith("waiting|")]
        assert "|symbol=DELTA|" in waiting.msg
        assert session.data == past[::3]
        late = publish_records(gateway, tmp_path, dataset, "trades", trades(20, first=30, ids=(21,)), LATE)
        session.wait_data(30)
        assert session.data == past[::3] + late
        assert session.mappings() == {11: "ALFA", 21: "DELTA"}
        kinds = [type(r) for r in session.control]
        assert kinds[-1] is SymbolMappingMsg, "the mapping follows once somebody publishes"


def test_subscriber_may_start_before_its_dataset_exists(gateway, dataset, tmp_path):
    with Session(gateway, dataset).subscribe("trades", start=0).start() as session:
        session.wait(lambda: session.systems(SystemCode.SUBSCRIPTION_ACK), "subscription ack")
        live = publish_trades(gateway, tmp_path, dataset, 100)
        session.wait_data(100)
        assert session.data == live
        assert session.mappings() == SYMBOLS


def test_ts_out_is_on_every_record_and_changes_nothing_else(gateway, dataset, tmp_path):
    past = publish_trades(gateway, tmp_path, dataset, 300)
    before = time.time_ns()
    with Session(gateway, dataset, ts_out=True).subscribe("trades", start=0).start() as session:
        session.wait_replayed("trades")
        live = publish_trades(gateway, tmp_path, dataset, 30, first=300)
        session.wait_data(330)
        assert session.live.metadata.ts_out
        assert session.data == past + live
        assert all(before <= t <= time.time_ns() for t in session.ts_out)
        assert session.ts_out == sorted(session.ts_out)


def test_several_subscriptions_before_start_are_merged_by_time(gateway, dataset, tmp_path):
    trade = publish_trades(gateway, tmp_path, dataset, 400)
    quote = publish_records(gateway, tmp_path, dataset, "mbp-1", quotes(400))
    session = Session(gateway, dataset).subscribe("trades", start=0).subscribe("mbp-1", start=0).start()
    with session:
        session.wait_replayed("trades", "mbp-1")
        assert [r for r in session.data if len(r) == 48] == trade
        assert [r for r in session.data if len(r) == 80] == quote
        times = [int.from_bytes(r[8:16], "little") for r in session.data]
        assert times == sorted(times)
        trade += publish_trades(gateway, tmp_path, dataset, 10, first=400)
        quote += publish_records(gateway, tmp_path, dataset, "mbp-1", quotes(10, first=400))
        session.wait_data(820)
        assert [r for r in session.data if len(r) == 48] == trade
        assert [r for r in session.data if len(r) == 80] == quote


def test_subscription_of_more_symbols_than_one_line_holds(gateway, dataset, tmp_path):
    symbols = {100 + i: f"SYM{i:04d}" for i in range(1_200)}  # the client sends 500 a line
    past = publish_records(gateway, tmp_path, dataset, "trades", trades(2_400, ids=tuple(symbols)), symbols)
    with Session(gateway, dataset).subscribe("trades", symbols.values(), start=0).start() as session:
        session.wait_replayed("trades")
        assert session.data == past
        assert session.live.symbology_map == symbols


def test_idle_session_gets_heartbeats(gateway, dataset, tmp_path):
    publish_trades(gateway, tmp_path, dataset, 1)
    with Session(gateway, dataset, heartbeat_interval_s=5).subscribe("trades").start() as session:
        session.wait(lambda: session.systems(SystemCode.HEARTBEAT), "heartbeat", timeout=10)
        assert session.live.is_connected()


def test_slow_iteration_of_a_big_replay_loses_nothing(gateway, dataset, tmp_path):
    # Ticks lie 250 ms apart, so the client's queue is "full" (more than 128 records over more than
    # 1 s) all the time: it stops and resumes reading its socket again and again.
    count, rest_every = 100_000, 10_000
    past = publish_trades(gateway, tmp_path, dataset, count)
    client = databento.Live(key=ANY_KEY, gateway=HOST, port=gateway.port)
    client.subscribe(dataset, "trades", start=0)
    got, told = [], []
    for record in iterate(client):
        if isinstance(record, (ErrorMsg, SystemMsg)):
            told.append(record)
            if isinstance(record, SystemMsg) and record.code == SystemCode.REPLAY_COMPLETED:
                break
        elif not isinstance(record, CONTROL):
            got.append(published_bytes(bytes(record), ts_out=False))
            if len(got) % rest_every == 0:
                time.sleep(0.2)  # the slow consumer that this test is about
    assert [m.err for m in told if isinstance(m, ErrorMsg)] == []
    assert got == past


def test_each_subscription_begins_at_its_own_start(gateway, dataset, tmp_path):
    """The official client's own chunks and starts: a subscription without a start gets no past, one that comes late is served."""
    past = publish_trades(gateway, tmp_path, dataset, 30)
    with Session(gateway, dataset).subscribe("trades", ["ALFA"], start=0).subscribe("trades", ["BRAVO"]).start() as session:
        session.wait_replayed("trades")
        assert session.data == past[::3]
        session.subscribe("trades", ["CHARLIE"], start=0)  # as nautilus_trader does: after the session has begun
        session.wait_data(20)
        assert sorted(session.data) == sorted(past[::3] + past[2::3])
        assert session.errors() == []


def test_a_refused_subscription_leaves_the_others(gateway, dataset, tmp_path):
    past = publish_trades(gateway, tmp_path, dataset, 30)
    with Session(gateway, dataset).subscribe("trades", ["US0378331005"], stype_in="isin").subscribe("trades", start=0).start() as session:
        session.wait_data(30)
        assert session.data == past
        ((code, text),) = session.errors()
        assert code == 4 and text.startswith("Failed to resolve symbol") and "isin" in text
