"""A network in Flax NNX, trained with Optax: parameters and gradients are handed over after each update.

Needs: jax, flax, optax, sklearn
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from sklearn.datasets import load_digits

import epochal
from epochal.frameworks.jax import graph_of


class Mlp(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(64, 32, rngs=rngs)
        self.norm = nnx.LayerNorm(32, rngs=rngs)
        self.out = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.norm(self.hidden(x))))


@nnx.jit
def update(model, optimizer, x, y):
    def loss_of(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    loss, gradients = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, gradients)
    return loss, gradients


digits = load_digits()
x, y = jnp.asarray(digits.data / 16, "float32"), jnp.asarray(digits.target)
x_test, y_test, x, y = x[1400:], y[1400:], x[:1400], y[:1400]

model = Mlp(nnx.Rngs(0))
optimizer = nnx.Optimizer(model, optax.adam(3e-3), wrt=nnx.Param)

with epochal.init(project="digits", name="flax", config={"lr": 3e-3, "batch": 100}) as run:
    run.log_parameters(model, step=0, graph=graph_of(model, x[:8]))
    step = 0
    for epoch in range(1, 11):
        order = jax.random.permutation(jax.random.key(epoch), len(x))
        for rows in order.reshape(-1, 100):
            loss, gradients = update(model, optimizer, x[rows], y[rows])
            step += 1
            run.log({"loss": loss}, step=step)
        accuracy = (model(x_test).argmax(axis=1) == y_test).mean()
        run.log({"val_accuracy": accuracy}, step=step, epoch=epoch)
        run.log_parameters(model, gradients=gradients)
