"""What a producer declares of an instrument is what the official decoder reads in its definition."""

import hashlib
import socket

import databento_dbn

from helpers import ANY_KEY, HOST, Session

UNDEFINED_TEXT = ""


def declare(gateway, dataset, *declarations):
    """Sends instrument lines as an adapter does, and returns the ids of the answers."""
    with socket.create_connection((HOST, int(gateway.port)), timeout=20) as sock:
        lines = sock.makefile("r", encoding="ascii", newline="\n")

        def read():
            return dict(field.partition("=")[::2] for field in lines.readline().strip().split("|"))

        read()  # lsg_version=...
        proof = hashlib.sha256(f"{read()['cram']}|{ANY_KEY}".encode()).hexdigest()
        sock.sendall(
            f"auth={proof}-{ANY_KEY[-5:]}|dataset={dataset}|encoding=dbn|role=producer|producer=p|stream=1|ack=written\n".encode()
        )
        assert read()["success"] == "1"
        ids = []
        for declaration in declarations:
            sock.sendall(f"instrument={declaration}\n".encode())
            ids.append(int(read()["instrument_id"]))
        return ids


def test_declared_instruments_definition_decodes_with_what_was_declared(gateway, dataset):
    spot, perp = declare(
        gateway,
        dataset,
        "BTCUSDT|price_increment=0.01|lot=0.00001|asset=BTC|quote=USDT|class=X|exchange=BINA",
        "ES-PERP|price_increment=0.25|lot=50|asset=ES|quote=USD|class=F|publisher_id=61234",
    )
    with Session(gateway, dataset).subscribe("definition", start=0).start() as session:
        session.wait_replayed("definition")
        assert session.live.symbology_map[spot] == "BTCUSDT"
        decoded = databento_dbn.DBNDecoder(has_metadata=False).write_and_decode(b"".join(session.data))
    found = {r.instrument_id: r for r in decoded}
    assert set(found) == {spot, perp}

    d = found[spot]
    assert d.raw_symbol == "BTCUSDT"
    assert d.min_price_increment == 10_000_000 and d.pretty_min_price_increment == 0.01
    assert d.unit_of_measure_qty == 10_000 and d.unit_of_measure == "BTC", "a size of 1 is a lot of 0.00001 BTC"
    assert d.min_lot_size_round_lot == 1
    assert str(d.instrument_class) == "X" and d.asset == "BTC" and d.exchange == "BINA"
    assert d.currency == UNDEFINED_TEXT and d.secsubtype == "USDT", "currency holds three letters"
    assert d.publisher_id == 60001, "publishers.json has BINA"
    assert str(d.security_update_action) == "A" and d.ts_event == d.ts_recv

    d = found[perp]
    assert d.raw_symbol == "ES-PERP" and d.pretty_min_price_increment == 0.25
    assert d.unit_of_measure_qty == 50 * 10**9 and d.unit_of_measure == "ES"
    assert str(d.instrument_class) == "F" and d.asset == "ES"
    assert d.currency == "USD" and d.secsubtype == UNDEFINED_TEXT
    assert d.exchange == UNDEFINED_TEXT and d.publisher_id == 61234
