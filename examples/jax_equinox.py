"""A network in Equinox, trained with Optax: the model is handed over as it is, and so are its gradients.

Needs: jax, equinox, optax, sklearn
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_iris

import epochal
from epochal.frameworks.jax import graph_of

flowers = load_iris()
x = jnp.asarray((flowers.data - flowers.data.mean(0)) / flowers.data.std(0), "float32")
y = jnp.asarray(flowers.target)

model = eqx.nn.MLP(in_size=4, out_size=3, width_size=16, depth=2, key=jax.random.key(0))
optimizer = optax.adam(1e-2)
state = optimizer.init(eqx.filter(model, eqx.is_array))


@eqx.filter_value_and_grad(has_aux=True)
def loss_of(model, x, y):
    scores = jax.vmap(model)(x)
    loss = optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()
    return loss, (scores.argmax(axis=1) == y).mean()


@eqx.filter_jit
def update(model, state, x, y):
    (loss, accuracy), gradients = loss_of(model, x, y)
    changes, state = optimizer.update(gradients, state)
    return eqx.apply_updates(model, changes), state, loss, accuracy, gradients


with epochal.init(project="iris", name="equinox", config={"lr": 1e-2, "width": 16}) as run:
    run.log_parameters(model, step=0, graph=graph_of(lambda model, x: jax.vmap(model)(x), model, x[:8]))
    for epoch in range(1, 101):
        model, state, loss, accuracy, gradients = update(model, state, x, y)
        run.log({"loss": loss, "accuracy": accuracy}, step=epoch, epoch=epoch)
        run.log_parameters(model, gradients=gradients)
