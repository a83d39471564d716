"""Train the weights of `routing/complexity_weights.json` and print what each of them says.

    uv run --group training python benchmarks/complexity/train.py

The strength of the regularisation is chosen by cross-validation over whole families, so that what is learned holds for
kinds of work that it has not seen. The quantiles are of the scores of all training questions, each scored by a model
that did not see its family: what a tenant's sketch begins with.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "platform"), str(Path(__file__).resolve().parent)]

import numpy as np  # noqa: E402 - the paths come first
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import log_loss, roc_auc_score  # noqa: E402
from sklearn.model_selection import GroupKFold, cross_val_predict  # noqa: E402
from texts import built  # noqa: E402

from routing.complexity import FEATURES, STORED, features_of  # noqa: E402

EACH = 80
SEED = 20
FOLDS = 6
STRENGTHS = (0.03, 0.1, 0.3, 1.0)
QUANTILES = 64


def main() -> None:
    """Train, write, report."""
    questions = built("train", each=EACH, seed=SEED)
    rows = np.array([features_of(question.text) for question in questions])
    hard = np.array([question.hard for question in questions])
    families = np.array([question.family for question in questions])
    folds = list(GroupKFold(FOLDS).split(rows, hard, families))
    best: tuple[float, float, np.ndarray] | None = None
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=5_000)
        unseen = cross_val_predict(model, rows, hard, cv=folds, method="predict_proba")[:, 1]
        loss = log_loss(hard, unseen)
        sys.stdout.write(f"C={strength}: loss {loss:.3f}, AUC {roc_auc_score(hard, unseen):.3f}\n")
        if best is None or loss < best[0]:
            best = loss, strength, unseen
    assert best is not None
    model = LogisticRegression(C=best[1], max_iter=5_000).fit(rows, hard)
    weights = {name: round(float(each), 4) for name, each in zip(FEATURES, model.coef_[0], strict=True)}
    quantiles = np.quantile(best[2], (np.arange(QUANTILES) + 0.5) / QUANTILES)
    stored = {
        "about": "made by benchmarks/complexity/train.py; see docs/benchmarks/choice.md",
        "bias": round(float(model.intercept_[0]), 4),
        "weights": weights,
        "quantiles": [round(float(each), 4) for each in quantiles],
    }
    STORED.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    for name, weight in sorted(weights.items(), key=lambda each: each[1]):
        sys.stdout.write(f"{weight:8.3f} {name}\n")


if __name__ == "__main__":
    main()
