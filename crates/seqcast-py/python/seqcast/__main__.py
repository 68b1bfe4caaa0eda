"""``python -m seqcast`` says how to get the command ``seqcast``."""

import sys


def main() -> int:
    """Say how to get the command."""
    print(
        "seqcast: this is the Python package. The command that shows and repairs buses (top, tail, inspect, doctor)\n"
        "is a program of its own:\n"
        "\n"
        "    cargo install seqcast-cli        # or, in a checkout: cargo install --path crates/seqcast-cli\n"
        "    seqcast top NAME",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
