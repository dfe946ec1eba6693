"""The README's adapter in plain Python: its ticks arrive in the official client."""

import importlib.util
import sys

import databento_dbn

from helpers import ANY_KEY, HOST, ROOT, Session, run

ADAPTER = ROOT / "interop" / "adapter" / "adapter.py"


def ticks():
    spec = importlib.util.spec_from_file_location("adapter", ADAPTER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TICKS


def publish(gateway, dataset, stream):
    return run([sys.executable, ADAPTER, HOST, gateway.port, dataset, stream], TAPEWIRE_KEY=ANY_KEY)


def test_adapters_ticks_arrive_with_their_symbols(gateway, dataset):
    assert publish(gateway, dataset, "day-1").startswith("3 records of stream day-1")
    with Session(gateway, dataset).subscribe("trades", start=0).start() as session:
        session.wait_replayed("trades")
        decoded = databento_dbn.DBNDecoder(has_metadata=False).write_and_decode(b"".join(session.data))
        arrived = [
            (session.live.symbology_map[r.instrument_id], r.pretty_price, r.size, str(r.side)) for r in decoded
        ]
        assert arrived == ticks()


def test_adapter_that_runs_again_doubles_nothing(gateway, dataset):
    for _ in range(2):
        assert publish(gateway, dataset, "day-1").startswith("3 records of stream day-1")
    with Session(gateway, dataset).subscribe("trades", start=0).start() as session:
        session.wait_replayed("trades")
        assert len(session.data) == len(ticks())
        publish(gateway, dataset, "day-2")
        session.wait_data(2 * len(ticks()))
        assert len(set(session.live.symbology_map)) == 2, "the same symbol keeps its instrument_id"
