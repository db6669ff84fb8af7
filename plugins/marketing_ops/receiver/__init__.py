"""The public endpoints behind the links in our mails: an ASGI app of its own, without Airflow."""

from __future__ import annotations


def serve(host: str = "127.0.0.1", port: int = 8090) -> None:
    """Serve until interrupted. Connections come from AIRFLOW_CONN_* variables.

    No access log is written: it would hold tokens and addresses of people.

    Raises:
        FatalError: the signing key or the warehouse's connection is missing.
    """
    import uvicorn

    from marketing_ops.connections import from_environment
    from marketing_ops.receiver.app import create_app

    uvicorn.run(
        create_app(from_environment),
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        server_header=False,
    )
