"""python deploy/lambda_zip.py ZIP: pack lambda_trigger; the same sources give the same bytes on every machine.

boto3 stays out: AWS's Python runtimes bring it. Needs nothing but the standard library.
"""

import sys
from pathlib import Path
from zipfile import ZipFile, ZipInfo

PACKAGE = Path(__file__).resolve().parent.parent / "lambda_trigger"


def pack(target: Path) -> None:
    """Write the zip. Nothing is compressed: what compression gives depends on the version of zlib."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(target, "w") as archive:
        for path in sorted(PACKAGE.glob("*.py")):
            entry = ZipInfo(f"{PACKAGE.name}/{path.name}", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            # Readable for the user that Lambda runs functions as, whatever the umask was here.
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, path.read_bytes())


if __name__ == "__main__":
    pack(Path(sys.argv[1]))
