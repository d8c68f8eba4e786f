"""A network in plain numpy, as in Michael Nielsen's book: lists of weights and of biases, sigmoids, mini-batches.

The two lines of Epochal are in `train`: whatever holds the parameters is handed over as it is.

Needs: sklearn
"""

from itertools import pairwise

import numpy as np
from sklearn.datasets import load_digits

import epochal

rng = np.random.default_rng(1)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class Network:
    def __init__(self, sizes):
        self.biases = [rng.normal(size=(n, 1)) for n in sizes[1:]]
        self.weights = [rng.normal(size=(n, m)) / np.sqrt(m) for m, n in pairwise(sizes)]

    def forward(self, a):
        """The activations of all layers for examples in columns, the input first."""
        layers = [a]
        for w, b in zip(self.weights, self.biases, strict=True):
            layers.append(sigmoid(w @ layers[-1] + b))
        return layers

    def gradients(self, x, y):
        """Backpropagation of the quadratic cost, averaged over the mini-batch."""
        layers = self.forward(x)
        delta = (layers[-1] - y) * layers[-1] * (1 - layers[-1])
        nabla_w, nabla_b = [], []
        for w, a in zip(reversed(self.weights), reversed(layers[:-1]), strict=True):
            nabla_w.insert(0, delta @ a.T / x.shape[1])
            nabla_b.insert(0, delta.mean(axis=1, keepdims=True))
            delta = (w.T @ delta) * a * (1 - a)
        return nabla_w, nabla_b


def train(network, x, labels, x_test, labels_test, *, epochs=30, batch=10, eta=3.0):
    y = np.eye(10)[labels].T
    with epochal.init(project="digits", name="nielsen", config={"eta": eta, "batch": batch}) as run:
        for epoch in range(1, epochs + 1):
            for columns in np.split(rng.permutation(x.shape[1]), range(batch, x.shape[1], batch)):
                nabla_w, nabla_b = network.gradients(x[:, columns], y[:, columns])
                for p, slope in zip(network.weights + network.biases, nabla_w + nabla_b, strict=True):
                    p -= eta * slope

            layers = network.forward(x_test)
            cost = 0.5 * np.mean(np.sum((layers[-1] - np.eye(10)[labels_test].T) ** 2, axis=0))
            accuracy = np.mean(layers[-1].argmax(axis=0) == labels_test)
            run.log({"val_loss": cost, "val_accuracy": accuracy}, step=epoch, epoch=epoch)
            run.log_parameters(
                {"weights": network.weights, "biases": network.biases},
                gradients={"weights": nabla_w, "biases": nabla_b},
                activations={"hidden": layers[1].T, "output": layers[2].T},
            )
    return accuracy


digits = load_digits()
x, labels = digits.data.T / 16, digits.target
accuracy = train(Network([64, 30, 10]), x[:, :1400], labels[:1400], x[:, 1400:], labels[1400:])
print(f"{accuracy:.1%} of the test digits are right")
