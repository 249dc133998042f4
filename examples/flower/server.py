"""Federated averaging with Flower, the server: it holds the parameters, the clients hold the pictures.

Has every client train from the same parameters and averages what comes back, weighted by how many pictures each has
trained on. How it is started: examples/guides/own-loop.md.
"""

from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from safetensors.numpy import load_file, save_file

app = ServerApp()


class Complete(FedAvg):
    """Federated averaging in which a client that fails ends the training."""

    def aggregate_train(self, server_round, replies):
        replies = list(replies)
        for reply in replies:
            if reply.has_error():
                raise RuntimeError(f"round {server_round}: {reply.error.reason}")
        return super().aggregate_train(server_round, replies)


@app.main()
def main(grid, context):
    config = context.run_config
    state = load_file(Path(config["directory"]) / "state.safetensors")
    strategy = Complete(fraction_evaluate=0, min_train_nodes=config["clients"], min_available_nodes=config["clients"])
    training = ConfigRecord({name: config[name] for name in ("steps", "batch")})
    result = strategy.start(grid, ArrayRecord([state["params"]]), num_rounds=config["rounds"], train_config=training)
    for metrics in result.train_metrics_clientapp.values():
        print(f"loss {metrics['loss']:.6f}")
    [state["params"]] = result.arrays.to_numpy_ndarrays()
    save_file(state, config["output"])
