"""Say whether a part of Airflow is healthy, for a container's health check: ``python healthy.py scheduler``.

Asks the API server, which knows of every part. Standard library only: it runs every half minute.
"""

import json
import os
import sys
import urllib.request


def main(part: str) -> int:
    """Return 0 if Airflow calls a part healthy, else 1; an API server that does not answer is an error of its own."""
    url = os.environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"].removesuffix("/execution/")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{url}/api/v2/monitor/health", timeout=10) as answer:
        status = json.load(answer)[part]["status"]
    print(f"{part}: {status}")
    return 0 if status == "healthy" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
