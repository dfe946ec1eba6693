"""A gateway that is restarted: the clients are told, come back, and go on."""

import json
import socket

import pandas as pd
import pytest
from databento import BentoError
from databento_dbn import ErrorCode, SystemCode

from helpers import HOST, PATIENCE, Gateway, Session, publish_trades, rust_client


@pytest.fixture
def inheriting_gateway(scratch, request):
    """A gateway whose listener stays open while it restarts, as with systemd's socket activation.

    The Python client makes exactly one attempt to reconnect, at once; it waits in the listener's queue then.
    """
    with socket.create_server((HOST, 0)) as listener:
        gateway = Gateway(scratch / request.node.name, listener=listener)
        yield gateway
        gateway.stop()


def test_python_client_closed_by_the_operator_reconnects_to_the_listener(own_gateway, dataset, tmp_path):
    past = publish_trades(own_gateway, tmp_path, dataset, 100)
    session = Session(own_gateway, dataset, reconnect_policy="reconnect")
    with session.subscribe("trades", start=0).start():
        session.wait_replayed("trades")
        own_gateway.close_sessions()
        session.wait(lambda: len(session.systems(SystemCode.SUBSCRIPTION_ACK)) == 2, "ack after the reconnect")
        assert [code for code, _ in session.errors()] == [int(ErrorCode.INTERNAL_ERROR)]
        live = publish_trades(own_gateway, tmp_path, dataset, 50, first=100)
        session.wait_data(150)
        assert session.data == past + live


def test_python_client_reconnects_and_data_goes_on(inheriting_gateway, dataset, tmp_path):
    expected = publish_trades(inheriting_gateway, tmp_path, dataset, 100)
    gaps = []
    session = Session(inheriting_gateway, dataset, reconnect_policy="reconnect")
    session.live.add_reconnect_callback(lambda start, end: gaps.append((start, end)))
    with session.subscribe("trades", start=0).start():
        session.wait_replayed("trades")
        for restarts in (1, 2, 3):
            inheriting_gateway.stop()
            inheriting_gateway.start()
            session.wait(lambda: len(session.systems(SystemCode.SUBSCRIPTION_ACK)) == 1 + restarts, "ack after the reconnect")
            assert [code for code, _ in session.errors()] == restarts * [int(ErrorCode.INTERNAL_ERROR)]
            expected += publish_trades(inheriting_gateway, tmp_path, dataset, 50, first=50 + 50 * restarts)
            session.wait_data(len(expected))
            assert session.data == expected
        assert len(gaps) == 3
        assert all(isinstance(t, pd.Timestamp) for gap in gaps for t in gap)


def test_python_client_that_cannot_reconnect_is_told(own_gateway, dataset, tmp_path):
    # Its attempt comes while the old gateway still waits for another client to close: to be let in
    # there and then be closed without an error would look like an ordinary end of the session.
    publish_trades(own_gateway, tmp_path, dataset, 100)
    dawdler = rust_client(own_gateway, dataset, "trades", "reconnect=1")  # keeps its socket when told to go
    session = Session(own_gateway, dataset, reconnect_policy="reconnect").subscribe("trades", start=0).start()
    try:
        assert json.loads(dawdler.stdout.readline())["stage"] == "replayed"
        session.wait_replayed("trades")
        own_gateway.stop()
        assert session.errors()[0][0] == int(ErrorCode.INTERNAL_ERROR)
        with session, pytest.raises(BentoError):
            session.live.block_for_close(timeout=PATIENCE)
            pytest.fail(f"the session ended without an error; {session}")
    finally:
        dawdler.kill()
        dawdler.wait()


def test_rust_client_is_told_resubscribes_and_goes_on(own_gateway, dataset, tmp_path):
    publish_trades(own_gateway, tmp_path, dataset, 100)
    client = rust_client(own_gateway, dataset, "trades", "reconnect=50")

    def stage(name):
        line = json.loads(client.stdout.readline())
        assert line["stage"] == name, line
        return line

    try:
        assert stage("replayed")["records"] == 100
        own_gateway.stop()
        assert [e["code"] for e in stage("closed")["errors"]] == [int(ErrorCode.INTERNAL_ERROR)]
        own_gateway.start()
        client.stdin.write("go\n")
        client.stdin.flush()
        stage("reconnected")
        # The metadata has arrived, so the session is live: nothing published from here on is missed.
        publish_trades(own_gateway, tmp_path, dataset, 50, first=100)
        resumed = stage("resumed")
        assert resumed["records"] == 50
        assert resumed["mappings"]
    finally:
        client.kill()
        client.wait()


def test_restart_loses_nothing_of_the_tape(own_gateway, dataset, tmp_path):
    expected = publish_trades(own_gateway, tmp_path, dataset, 1_000)
    for round in (1, 2):
        own_gateway.stop()
        own_gateway.start()
        expected += publish_trades(own_gateway, tmp_path, dataset, 100, first=900 + 100 * round)
    with Session(own_gateway, dataset).subscribe("trades", start=0).start() as session:
        session.wait_replayed("trades")
        assert session.data == expected
