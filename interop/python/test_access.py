"""Who is let in, and what a client that is refused is told."""

import os
import socket

import pytest
from databento import BentoError
from databento.common.cram import get_challenge_response
from databento_dbn import DBNDecoder, ErrorCode

from helpers import (
    ANY_KEY, HOST, PATIENCE, SYMBOLS, Gateway, Session, new_key, publish_trades, rust_replay, trades, write_dbn,
)

OPEN_TO_READER, SHUT = "OPEN.ONE", "SHUT.ONE"


@pytest.fixture(scope="module")
def guarded(scratch):
    """A gateway with a key file: a desk that publishes, a reader of one dataset only."""
    directory = scratch / "guarded"
    directory.mkdir()
    keys = directory / "keys.toml"
    desk = new_key(keys, "desk", "--rights", "subscribe,publish")
    reader = new_key(keys, "reader", "--datasets", OPEN_TO_READER)
    gateway = Gateway(directory, keys)
    gateway.reader = reader
    for dataset in (OPEN_TO_READER, SHUT):
        path = write_dbn(directory / f"{dataset}.dbn", dataset, "trades", trades(30), SYMBOLS)
        gateway.publish(path, key=desk)
    yield gateway
    gateway.stop()


def test_key_with_the_right_reads_its_dataset(guarded):
    with Session(guarded, OPEN_TO_READER, key=guarded.reader).subscribe("trades", start=0).start() as session:
        session.wait_replayed("trades")
        assert session.data == [bytes(r) for r in trades(30)]


def test_key_file_is_readable_by_its_owner_only(guarded):
    assert os.stat(guarded.keys).st_mode & 0o077 == 0


def test_wrong_key_is_refused_with_a_reason(guarded):
    with pytest.raises(BentoError, match="(?i)key"):
        Session(guarded, OPEN_TO_READER, key=ANY_KEY).subscribe("trades")


def test_key_with_right_ending_but_wrong_start_is_refused(guarded):
    almost = "db-" + "x" * 24 + guarded.reader[-5:]  # the ending travels in clear
    with pytest.raises(BentoError, match="(?i)key"):
        Session(guarded, OPEN_TO_READER, key=almost).subscribe("trades")


def test_dataset_without_right_is_refused_by_name(guarded):
    with pytest.raises(BentoError, match=SHUT):
        Session(guarded, SHUT, key=guarded.reader).subscribe("trades")


def test_rust_client_is_told_why_it_is_refused(guarded):
    refused = rust_replay(guarded, OPEN_TO_READER, "trades", key=ANY_KEY)
    assert refused["stage"] == "refused"
    assert "key" in refused["error"].lower()
    assert SHUT in rust_replay(guarded, SHUT, "trades", key=guarded.reader)["error"]


def test_reader_may_not_publish(guarded, tmp_path):
    path = write_dbn(tmp_path / "more.dbn", OPEN_TO_READER, "trades", trades(5, first=30), SYMBOLS)
    with pytest.raises(AssertionError, match="may not publish"):
        guarded.publish(path, key=guarded.reader)


def raw_session(gateway, dataset, *lines):
    """Logs in as a plain socket, sends lines that no client would, returns all bytes up to the close."""
    with socket.create_connection((HOST, gateway.port), timeout=PATIENCE) as sock:
        text = sock.makefile("r", encoding="ascii", newline="\n")
        assert text.readline().startswith("lsg_version=")
        challenge = text.readline().strip().removeprefix("cram=")
        proof = get_challenge_response(challenge, ANY_KEY)
        sock.sendall(f"auth={proof}|dataset={dataset}|encoding=dbn|ts_out=0\n".encode())
        assert text.readline().startswith("success=1|session_id=")
        sock.sendall("".join(f"{line}\n" for line in lines).encode())
        return text.buffer.read()


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("schema=candles|stype_in=raw_symbol|symbols=ALFA", "candles"),
        ("schema=trades|stype_in=raw_symbol|symbols=ALFA|start=yesterday", "yesterday"),
    ],
)
def test_bad_subscription_is_told_as_error_5_then_closed(gateway, dataset, tmp_path, line, named):
    publish_trades(gateway, tmp_path, dataset, 3)
    metadata, *told = DBNDecoder().write_and_decode(raw_session(gateway, dataset, line, "start_session"))
    assert metadata.dataset == dataset
    assert told, "the gateway closed without a word"
    assert told[-1].code == ErrorCode.INVALID_SUBSCRIPTION
    assert named in told[-1].err
