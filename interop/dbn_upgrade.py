#!/usr/bin/env python3
"""Compares DBN files that feed upgraded to version 3 with what the reference implementation makes of the same inputs.

Needs the packages databento_dbn and zstandard, and the real data beside the repository.

    TAPEWIRE_INTEROP_OUT=/tmp/upgraded go test ./feed -run TestUpgrade -count=1
    python3 interop/dbn_upgrade.py compare /tmp/upgraded ../shared/data/dbn

compares byte for byte: each /tmp/upgraded/data/PATH with the upgraded ../shared/data/dbn/PATH, and each
/tmp/upgraded/crafted/NAME.dbn with the upgraded NAME.input beside it.

    python3 interop/dbn_upgrade.py digests /tmp/upgraded ../shared/data/dbn > feed/testdata/upgraded.sha256

writes the digests of the reference implementation's bytes, with which `go test ./feed` compares without Python.
"""

import hashlib
import importlib.metadata
import io
import pathlib
import sys

import databento_dbn
import zstandard

CHUNK = 1 << 20  # bytes given to the decoder at a time, so that its records do not pile up
TS_OUT = 8 + 44  # offset of ts_out in a file's metadata, version 2 and later


def plain(path: pathlib.Path) -> bytes:
    raw = path.read_bytes()
    if path.suffix != ".zst":
        return raw
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw), read_across_frames=True).read()


def fragment_version(name: str) -> int | None:
    """The version of a fragment, by its name; None for a whole file."""
    if ".frag" not in name:
        return None
    for version in (1, 3):
        if f".v{version}." in name:
            return version
    return 2


def upgraded(name: str, source: bytes):
    """Yields the bytes of the reference implementation's upgrade, without ts_out."""
    fragment = fragment_version(name)
    decoder = databento_dbn.DBNDecoder(
        has_metadata=fragment is None,
        input_version=fragment,
        upgrade_policy=databento_dbn.VersionUpgradePolicy.UPGRADE_TO_V3,
    )
    has_ts_out = False
    for at in range(0, len(source), CHUNK):
        decoder.write(source[at : at + CHUNK])
        for item in decoder.decode():
            if isinstance(item, databento_dbn.Metadata):
                metadata = bytearray(item.encode())
                has_ts_out = metadata[TS_OUT] == 1
                metadata[TS_OUT] = 0
                yield bytes(metadata)
            elif has_ts_out:
                record = bytearray(bytes(item)[:-8])
                record[0] -= 2
                yield bytes(record)
            else:
                yield bytes(item)
    if decoder.buffer():
        raise ValueError(f"{name}: {len(decoder.buffer())} bytes are left over")


def inputs(out: pathlib.Path, data: pathlib.Path):
    """Yields (name, path of the input, path of feed's upgrade)."""
    for path in sorted(p for p in (out / "data").rglob("*") if p.is_file()):
        name = path.relative_to(out / "data")
        yield f"data/{name}", data / name, path
    for path in sorted((out / "crafted").glob("*.input")):
        yield f"crafted/{path.stem}", path, path.with_suffix(".dbn")


def main() -> int:
    mode, out, data = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    if mode == "digests":
        print(f"# sha256 of what databento_dbn {importlib.metadata.version('databento-dbn')} makes of old files; see interop/dbn_upgrade.py")
    compared = different = 0
    for name, source, ours in inputs(out, data):
        want = b"".join(upgraded(name, plain(source)))
        compared += 1
        if mode == "digests":
            print(f"{hashlib.sha256(want).hexdigest()}  {name}")
            continue
        got = ours.read_bytes()
        if got != want:
            different += 1
            at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
            print(f"{name}: {len(got)} bytes, the reference has {len(want)}; they differ at byte {at}")
    if mode == "compare":
        print(f"{compared} files compared, {different} different")
    return 1 if different or compared == 0 else 0


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("compare", "digests"):
        sys.exit(__doc__)
    sys.exit(main())
