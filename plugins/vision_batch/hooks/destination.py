"""Read an Airflow connection into the address of a destination's database server."""

from __future__ import annotations

from airflow.sdk import BaseHook, Connection

from vision_batch.errors import ConnectionInputError
from vision_batch.warehouse.server import ServerConfig

#: What extras of Airflow's own connection forms mean something else than the driver's options; they are left out.
NOT_OPTIONS = frozenset({"cursor", "iam", "redshift", "log_sql", "sqlalchemy_scheme", "sqlalchemy_query"})

#: Of a Redshift connection's extra, what the Amazon provider reads to ask for a temporary password.
_OF_THE_PROVIDER = frozenset(
    {"aws_conn_id", "cluster_identifier", "is_serverless", "serverless_token_duration_seconds", "serverless_work_group"}
)


def destination_server(conn_id: str) -> ServerConfig:
    """Return the server that a connection stands for. Its password goes nowhere but to the driver.

    :raises ConnectionInputError: if the connection has no host.
    """
    return read_server(BaseHook.get_connection(conn_id))


def read_server(connection: Connection) -> ServerConfig:
    """Turn a connection into a configuration; every extra is an option of the driver, by name.

    Of a Redshift connection whose extra has ``iam``, user and password are the Amazon provider's temporary ones.

    :raises ConnectionInputError: names the connection and the field.
    """
    extra, is_redshift = connection.extra_dejson, connection.conn_type == "redshift"
    ignored = NOT_OPTIONS | _OF_THE_PROVIDER if is_redshift else NOT_OPTIONS
    options = {name: value for name, value in extra.items() if name not in ignored}
    host = options.pop("host", None) or connection.host
    if not host:
        raise ConnectionInputError(
            f"connection {connection.conn_id!r}, field 'host': found nothing; allowed: the server's name, "
            "or the folder of its socket"
        )
    user, password = (
        _temporary_login(connection) if is_redshift and extra.get("iam") else (connection.login, connection.password)
    )
    return ServerConfig(
        host=str(host),
        port=connection.port,
        user=user,
        password=password,
        database=connection.schema,
        options={name: str(value) for name, value in options.items()},
    )


def _temporary_login(connection: Connection) -> tuple[str, str]:
    from airflow.providers.amazon.aws.hooks.redshift_sql import RedshiftSQLHook  # noqa: PLC0415 - heavy

    aws = connection.extra_dejson.get("aws_conn_id", "aws_default")
    user, password, _ = RedshiftSQLHook(redshift_conn_id=connection.conn_id, aws_conn_id=aws).get_iam_token(connection)
    return user, password
