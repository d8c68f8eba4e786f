"""scikit-learn's multi-layer perceptron: `fit` trains it as its own `fit` does, to the last bit, and records it.

Needs: sklearn
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from epochal.frameworks.sklearn import fit

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, stratify=y, random_state=0)

model = make_pipeline(MinMaxScaler(), MLPClassifier((32,), learning_rate_init=0.01, tol=2e-3, random_state=0))
fit(model, x_train, y_train, validation=(x_test, y_test), project="digits", name="scikit-learn")
print(f"{model.score(x_test, y_test):.1%} of the test digits are right")
