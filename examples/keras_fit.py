"""Keras: one callback records what `fit` does, and the network while it learns, on whichever backend.

Needs: keras, sklearn
"""

import os
from importlib.util import find_spec

# Keras reads its backend once, when it is imported.
os.environ.setdefault("KERAS_BACKEND", next(name for name in ("torch", "jax", "tensorflow") if find_spec(name)))

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from epochal.frameworks.keras import Callback

pictures, digits = load_digits(return_X_y=True)
pictures = (pictures / 16).reshape(-1, 8, 8, 1).astype("float32")
x, x_test, y, y_test = train_test_split(pictures, digits, test_size=0.2, random_state=0)

keras.utils.set_random_seed(0)
inputs = keras.Input((8, 8, 1))
h = keras.layers.Dense(32, activation="relu")(keras.layers.Flatten()(inputs))
h = keras.layers.Add()([h, keras.layers.Dense(32, activation="relu")(h)])
outputs = keras.layers.Dense(10, activation="softmax")(keras.layers.Dropout(0.2)(h))
model = keras.Model(inputs, outputs, name="digits")

model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
callback = Callback(project="digits", predictions=(x_test[:50], y_test[:50]))
model.fit(x, y, batch_size=64, epochs=8, validation_split=0.1, verbose=2, callbacks=[callback])
model.evaluate(x_test, y_test, verbose=2, callbacks=[callback])  # goes on with the same run
