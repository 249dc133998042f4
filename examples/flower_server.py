"""Federated averaging with Flower, the server: it holds the parameters, the clients hold the pictures.

    pip install flwr==1.42.0 onnxruntime safetensors numpy pillow
    python examples/flower_server.py model.train trained.safetensors 127.0.0.1:8080 3 5

waits for 3 clients (flower_client.py), then has each train 5 times from the same parameters and averages what comes
back, weighted by how many pictures each has trained on. Give an address other than the loopback one, and certificates,
where the clients are on other machines: without certificates the parameters travel in the clear.
"""

import os
import sys
from pathlib import Path

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"  # read on import

from flwr.common import ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import ServerConfig, start_server
from flwr.server.strategy import FedAvg
from safetensors.numpy import load_file, save_file

directory, output = map(Path, sys.argv[1:3])
address = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1:8080"
clients = int(sys.argv[4]) if len(sys.argv) > 4 else 3
rounds = int(sys.argv[5]) if len(sys.argv) > 5 else 5
state = load_file(directory / "state.safetensors")


class KeepLast(FedAvg):
    """Federated averaging in which a client that fails ends the training, and the last average is kept."""

    def aggregate_fit(self, server_round, results, failures):
        if failures:
            sys.exit(f"round {server_round}: {failures[0]}")
        parameters, metrics = super().aggregate_fit(server_round, results, failures)
        [state["params"]] = parameters_to_ndarrays(parameters)
        pictures = sum(result.num_examples for _, result in results)
        loss = sum(result.num_examples * result.metrics["loss"] for _, result in results) / pictures
        print(f"loss {loss:.6f}", flush=True)
        return parameters, metrics


strategy = KeepLast(
    fraction_evaluate=0,
    min_fit_clients=clients,
    min_available_clients=clients,
    initial_parameters=ndarrays_to_parameters([state["params"]]),
)
start_server(server_address=address, config=ServerConfig(num_rounds=rounds), strategy=strategy)
save_file(state, output)
