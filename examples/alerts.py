"""Be told when a training goes wrong: rules for a metric, and a function that stops the training.

Needs: sklearn
"""

import numpy as np
from sklearn.datasets import load_iris

import epochal

flowers = load_iris()
x = (flowers.data - flowers.data.mean(0)) / flowers.data.std(0)
y = np.eye(3)[flowers.target]
weights = np.zeros((4, 3))
stop = False


def told(alert: epochal.Alert) -> None:
    """Any function will do; the address of a webhook, such as Slack's, is another way to be told."""
    global stop
    stop = stop or alert.level == "error"


with epochal.init("alerts", config={"lr": 0.5, "growth": 1.3}, alerts=told) as run:
    run.define("loss", alert=["nan", "inf", "> 5"])
    lr = run.config["lr"]
    for step in range(500):
        scores = x @ weights
        scores -= scores.max(axis=1, keepdims=True)
        chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        with np.errstate(divide="ignore"):
            run.log({"loss": -np.log((chances * y).sum(axis=1)).mean(), "lr": lr}, step=step)
        if stop:
            run.alert("Stopped early", f"the learning rate had grown to {lr:.3g}", level="warning")
            break
        weights -= lr * x.T @ (chances - y) / len(x)
        lr *= run.config["growth"]
