"""Sums up the text files and PDFs that it is given, one line each: `python script.py report.pdf notes.txt`.

Exit status 1 if one of them could not be summed up.
"""

import argparse
import sys

import mesh


def main(arguments: list[str]) -> int:
    """Sum up each file and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--model", help="default: as the environment and the profile say")
    options = parser.parse_args(arguments)
    failed = 0
    with mesh.MeshClient(timeout=120) as client:
        for path in options.files:
            try:
                answer = client.chat("Sum this up in one sentence.", files=[path], model=options.model)
            except (OSError, ValueError) as problem:
                print(f"{path}: {problem}", file=sys.stderr)
                failed += 1
                continue
            if answer["success"]:
                print(f"{path}: {answer}")
            else:
                print(f"{path}: {answer['error']}", *answer["troubleshooting"], sep="\n  - ", file=sys.stderr)
                failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
