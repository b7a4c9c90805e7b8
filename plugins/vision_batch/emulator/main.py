"""Run the emulator: ``vision-batch emulator --state DIR``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import logging
import math
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import uvicorn
from starlette.applications import Starlette
from yandex.cloud.ai.batch_inference.v1 import batch_inference_service_pb2
from yandex.cloud.ai.dataset.v1 import dataset_service_pb2
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2
from yandex.cloud.endpoint import api_endpoint_service_pb2
from yandex.cloud.iam.v1 import iam_token_service_pb2
from yandex.cloud.operation import operation_service_pb2

from vision_batch.emulator.control_http import ControlHttp
from vision_batch.emulator.datasets import DatasetService
from vision_batch.emulator.discovery import ApiEndpointService
from vision_batch.emulator.iam import TOKEN_SECONDS, AuthorizedKey, IamTokenService, KeyFileError
from vision_batch.emulator.jobs import BatchCompletionService, BatchInferenceService
from vision_batch.emulator.operations import OperationService
from vision_batch.emulator.rpc import service_handler
from vision_batch.emulator.scenarios import ScenarioError, read_scenarios
from vision_batch.emulator.settings import QUOTAS, Settings
from vision_batch.emulator.state import StateFolder, StateInUseError
from vision_batch.emulator.storage_http import CutError, StorageHttp
from vision_batch.emulator.studio import Studio
from vision_batch.emulator.uploads import drop_drafts
from vision_batch.emulator.work import Work
from vision_batch.errors import InputError
from vision_batch.models import MODELS, Model, added_model

_GRACE_SECONDS = 2
_LAST_PORT = 65535


def run(argv: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    served = {*MODELS, *(model.id for model in options.add_model)}
    if unknown := [name for name, _ in options.window if name not in served]:
        parser.error(f"argument --window: there is no model {unknown[0]!r}; known are {', '.join(sorted(served))}")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    settings = Settings(
        speed=options.speed,
        api_key=options.api_key,
        folder_id=options.folder,
        allow_data_logging=options.allow_data_logging,
        quotas={**QUOTAS, **dict(options.quota)},
        windows=dict(options.window),
        added={model.id: model for model in options.add_model},
    )
    try:
        with contextlib.closing(StateFolder(options.state)) as folder:
            studio = Studio(settings, folder)
            if options.scenario is not None:
                _begin_with(studio, options.scenario)
            asyncio.run(_Server(studio, options).serve())
    except FileExistsError:
        print(f"vision-batch emulator: --state {options.state} is a file; name a folder", file=sys.stderr)  # noqa: T201
        return 1
    except (StateInUseError, ScenarioError, KeyFileError, OSError) as error:
        print(f"vision-batch emulator: {error}", file=sys.stderr)  # noqa: T201 - a command line prints
        return 1
    return 0


class _Server:
    """Own the two ports of a running emulator."""

    def __init__(self, studio: Studio, options: argparse.Namespace) -> None:
        self._studio = studio
        self._options = options
        self._work = Work(studio)
        self._discovery = ApiEndpointService()

    async def serve(self) -> None:
        """Listen until a signal comes."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if self._options.end_with_stdin:
            loop.add_reader(sys.stdin.fileno(), stop.set)
        host = self._options.host
        with _listening(host, self._options.http_port) as listener:
            server = self._grpc_server()
            port = _bound(server, host, self._options.grpc_port)
            self._discovery.address = f"{host}:{port}"
            self._studio.http_url = f"http://{host}:{listener.getsockname()[1]}"
            await server.start()
            drop_drafts(self._studio.folder.folder)
            self._work.resume()
            http = _HttpServer(self._http_config())
            serving = asyncio.create_task(http.serve(sockets=[listener]))
            print(json.dumps({"grpc": self._discovery.address, "http": self._studio.http_url}), flush=True)  # noqa: T201
            await stop.wait()
            http.should_exit = True
            await server.stop(_GRACE_SECONDS)
            await serving
            await self._work.close()

    def _grpc_server(self) -> grpc.aio.Server:
        studio, options = self._studio, self._options
        # Without this two emulators could share one port.
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        key = AuthorizedKey(options.authorized_key) if options.authorized_key is not None else None
        served = (
            (api_endpoint_service_pb2, "ApiEndpointService", self._discovery),
            (dataset_service_pb2, "DatasetService", DatasetService(studio, self._work)),
            (text_generation_service_pb2, "TextGenerationBatchService", BatchCompletionService(studio, self._work)),
            (batch_inference_service_pb2, "BatchInferenceService", BatchInferenceService(studio)),
            (operation_service_pb2, "OperationService", OperationService(studio)),
            (
                iam_token_service_pb2,
                "IamTokenService",
                IamTokenService(studio, key=key, token_seconds=options.token_seconds),
            ),
        )
        for module, name, implementation in served:
            descriptor = module.DESCRIPTOR.services_by_name[name]
            server.add_generic_rpc_handlers((service_handler(descriptor, implementation, studio),))
        return server

    def _http_config(self) -> uvicorn.Config:
        routes = [*ControlHttp(self._studio, self._work).routes(), *StorageHttp(self._studio).routes()]
        logging.getLogger("uvicorn.error").addFilter(_is_no_cut)
        return uvicorn.Config(
            Starlette(routes=routes),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )


def _is_no_cut(record: logging.LogRecord) -> bool:
    """Tell whether a record is about anything but a connection that was cut as a scenario asked."""
    error = record.exc_info[1] if record.exc_info else None
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return not isinstance(error, CutError)


class _HttpServer(uvicorn.Server):
    """Leave signals to the emulator, which has two servers to end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _begin_with(studio: Studio, path: Path) -> None:
    """Make the scenarios of a file active, once for each content of the file and state."""
    scenarios = read_scenarios(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if studio.meta("scenario_file") != digest:
        studio.scenarios.add(*scenarios)
        studio.keep("scenario_file", digest)


def _bound(server: grpc.aio.Server, host: str, port: int) -> int:
    try:
        return server.add_insecure_port(f"{host}:{port}")
    except RuntimeError:
        raise OSError(f"cannot listen on {host}:{port}: choose another --grpc-port") from None


def _listening(host: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Before the address is printed, so that whoever reads it can connect at once.
        listener.listen()
    except OSError as error:
        listener.close()
        raise OSError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --http-port or --host"
        ) from None
    return listener


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vision-batch emulator",
        description="Run AI Studio's batch service on this machine. Prints one JSON line with its addresses.",
    )
    parser.add_argument("--state", type=Path, required=True, help="folder for everything it remembers")
    parser.add_argument("--speed", type=_positive, default=1.0, help="how many times faster its clock runs (default 1)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="name or address to listen at, and to give to clients in discovery and URLs (default: %(default)s)",
    )
    parser.add_argument("--grpc-port", type=_port, default=0, help="default: a free one")
    parser.add_argument("--http-port", type=_port, default=0, help="default: a free one")
    parser.add_argument("--api-key", help="let in this key and tokens issued here only (default: any)")
    parser.add_argument("--folder", help="let in this folder only (default: any)")
    parser.add_argument(
        "--authorized-key", type=Path, help="JSON file of the only service-account key to issue tokens for"
    )
    parser.add_argument(
        "--token-seconds", type=_positive, default=TOKEN_SECONDS, help="life of an IAM token in real seconds"
    )
    parser.add_argument("--scenario", type=Path, help="JSON file with scenarios to begin with")
    parser.add_argument(
        "--quota",
        type=_quota,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"change a quota: {', '.join(QUOTAS)}",
    )
    parser.add_argument(
        "--window", type=_pair, action="append", default=[], metavar="MODEL=TOKENS", help="change a model's window"
    )
    parser.add_argument(
        "--add-model", type=_model, action="append", default=[], metavar="ID=FAMILY", help="serve one more model"
    )
    parser.add_argument("--allow-data-logging", action="store_true", help="do not insist that data logging is off")
    parser.add_argument("--end-with-stdin", action="store_true", help="end when standard input is closed")
    return parser


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; allowed: 0 to {_LAST_PORT}, 0 for a free one")
    return int(text)


def _model(text: str) -> Model:
    model_id, _, family = text.partition("=")
    try:
        return added_model(model_id, {"family": family})
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _pair(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if not name or not value.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER")
    return name, int(value)


def _quota(text: str) -> tuple[str, int]:
    name, value = _pair(text)
    if name not in QUOTAS:
        raise argparse.ArgumentTypeError(f"there is no quota {name!r}; known are {', '.join(QUOTAS)}")
    return name, value
