"""Pictures, predictions, an embedding, a table and a sound beside the loss, of a network that learns digits.

Needs: sklearn
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import epochal

digits = load_digits()
images = digits.images / 16
train, test, train_y, test_y, _, test_images = train_test_split(
    digits.data / 16, digits.target, images, test_size=200, random_state=0
)
network = MLPClassifier((32,), learning_rate_init=0.01, random_state=0)
names = [str(digit) for digit in digits.target_names]

with epochal.init("values", config={"hidden": 32}) as run:
    run.log({"examples": epochal.Image.batch(test_images[:16], captions=[str(y) for y in test_y[:16]])}, step=0)
    for epoch in range(12):
        network.partial_fit(train, train_y, classes=range(10))
        chances = network.predict_proba(test)
        run.log({"loss": network.loss_, "accuracy": (chances.argmax(1) == test_y).mean()}, step=epoch, epoch=epoch)
        # Each hidden unit's weights as a picture: together a film of what the units look for.
        units = network.coefs_[0].T.reshape(-1, 8, 8)
        run.log({"units": epochal.Image.batch(units, range=(-1.5, 1.5))}, step=epoch)
        run.log({"confidence": epochal.Histogram(chances.max(1))}, step=epoch)
        run.log_predictions(test_images, test_y, chances, names, step=epoch)
    hidden = np.maximum(test @ network.coefs_[0] + network.intercepts_[0], 0)
    run.log_embedding(hidden, test_y, images=test_images, step=epoch)
    wrong = np.flatnonzero(chances.argmax(1) != test_y)[:20]
    table = epochal.Table(["digit", "is", "taken for", "confidence"])
    for i in wrong:
        table.add_row(epochal.Image(test_images[i]), test_y[i], chances[i].argmax(), chances[i].max())
    run.log({"mistakes": table, "notes": epochal.Text(f"**{len(wrong)}** of 200 are wrong")}, step=epoch)
    curve = np.repeat(network.loss_curve_, 2000)
    run.log({"falling": epochal.Audio(np.sin(np.cumsum(curve) / 8), 8000, caption="the loss as pitch")}, step=epoch)

print(epochal.open().run("latest").predictions())
