"""`python -m marketing_ops.receiver [--host H] [--port P]`."""

from __future__ import annotations

import argparse
import sys

from marketing_ops.errors import MarketingOpsError
from marketing_ops.receiver import serve


def main() -> int:
    """Serve; a wrong configuration is one sentence and exit code 1."""
    parser = argparse.ArgumentParser(prog="marketing_ops.receiver", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    options = parser.parse_args()
    try:
        serve(options.host, options.port)
    except MarketingOpsError as error:
        print(f"marketing_ops.receiver: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
