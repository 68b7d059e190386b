"""Seals and opens one file with the stock client's own modules; runs in the stock environment.

Usage: ``stock_container.py seal SOURCE STORED PROJECT_PUBLIC_HEX yes|no`` prints the facts as JSON;
``stock_container.py open STORED TARGET PROJECT_PRIVATE_HEX PUBLIC_HEX SALT_HEX yes|no``.
The last word says whether the payload is (to be) compressed.
"""

import json
import pathlib
import sys

from dds_cli.file_compressor import Compressor  # type: ignore[import-not-found]
from dds_cli.file_encryptor import Decryptor, Encryptor  # type: ignore[import-not-found]
from dds_cli.file_handler_local import LocalFileHandler  # type: ignore[import-not-found]


class NoProgress:
    def advance(self, *_: object) -> None:
        return


def seal(source: str, stored: str, public: str, compress: str) -> None:
    path = pathlib.Path(source)
    chunks = (
        Compressor.compress_file(file=path)
        if compress == "yes"
        else LocalFileHandler.read_file(file=path)
    )
    sealer = Encryptor(project_keys=("", public))
    done, message = sealer.encrypt_filechunks(
        chunks=chunks, outfile=pathlib.Path(stored), progress=(NoProgress(), 0)
    )
    assert done, message
    public_key = sealer.get_public_component_hex(private_key=sealer.my_private)
    json.dump({"salt": sealer.salt, "public_key": public_key}, sys.stdout)


def open_(stored: str, target: str, private: str, public: str, salt: str, compressed: str) -> None:
    out = pathlib.Path(target)
    opener = Decryptor(
        project_keys=(private,), peer_public=public, key_salt=salt, files_directory=out.parent
    )
    chunks = opener.decrypt_file(infile=pathlib.Path(stored), outfile=out)
    if compressed == "yes":
        saved, message = Compressor.decompress_filechunks(
            chunks=chunks, outfile=out, files_directory=out.parent
        )
        assert saved, message
    else:
        out.write_bytes(b"".join(chunks))


if __name__ == "__main__":
    if sys.argv[1] == "seal":
        seal(*sys.argv[2:])
    else:
        open_(*sys.argv[2:])
