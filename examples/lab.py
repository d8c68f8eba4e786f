"""A lab: the same training with several learning rates, each with two seeds, two trials at a time.

Each trial is a run of its own, in a process of its own.

Needs: sklearn
"""

import numpy as np
from sklearn.datasets import load_digits

import epochal


def train(run, parameters, seed):
    rng = np.random.default_rng(seed)
    x, y = load_digits(return_X_y=True)
    x, right = x / 16, np.eye(10)[y]
    order = np.random.default_rng(0).permutation(len(x))  # the same split for all trials
    training, validation = order[:1400], order[1400:]

    weight, bias = 0.01 * rng.normal(size=(64, 10)), np.zeros(10)
    run.watch({"weight": weight, "bias": bias})
    step = 0
    for epoch in range(parameters["epochs"]):
        for batch in np.array_split(rng.permutation(training), 44):
            said = softmax(x[batch] @ weight + bias)
            error = (said - right[batch]) / len(batch)
            weight -= parameters["learning_rate"] * (x[batch].T @ error)
            bias -= parameters["learning_rate"] * error.sum(0)
            step += 1
        said = softmax(x[validation] @ weight + bias)
        loss = -np.log(said[right[validation] == 1]).mean()
        accuracy = (said.argmax(1) == y[validation]).mean()
        run.log({"val/loss": loss, "val/accuracy": accuracy}, step=step, epoch=epoch)
    return {"updates": step}


def softmax(scores):
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


if __name__ == "__main__":
    lab = epochal.Lab(
        "learning-rates",
        train=train,
        space={"learning_rate": [0.01, 0.1, 1.0]},
        parameters={"epochs": 5},
        repeats=2,
    )
    result = lab.run(jobs=2)
    for trial in result.trials:
        print(trial.trial.parameters["learning_rate"], trial.trial.seed, trial.metrics["val_accuracy"])
    print("best:", result.best.trial.parameters)
