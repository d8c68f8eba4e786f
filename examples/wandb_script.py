"""A script written for wandb: only the import is another.

Needs: sklearn
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import epochal.dropin.wandb as wandb

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x / 16, y, test_size=0.25, random_state=0)

run = wandb.init(project="digits", name="linear", config={"alpha": 1e-4, "epochs": 12})
wandb.define_metric("test/accuracy", summary="max")

model = SGDClassifier(loss="log_loss", alpha=wandb.config.alpha, random_state=0)
for epoch in range(wandb.config.epochs):
    model.partial_fit(x_train, y_train, classes=np.unique(y))
    wandb.log(
        {
            "epoch": epoch,
            "train/loss": log_loss(y_train, model.predict_proba(x_train)),
            "test/accuracy": model.score(x_test, y_test),
            "weights": [wandb.Image(row.reshape(8, 8), caption=str(digit)) for digit, row in enumerate(model.coef_)],
        }
    )

guess = model.predict(x_test)
wandb.log({"confusion": wandb.plot.confusion_matrix(y_true=y_test, preds=guess, class_names=list("0123456789"))})
run.summary["wrong"] = int((guess != y_test).sum())
wandb.finish()
