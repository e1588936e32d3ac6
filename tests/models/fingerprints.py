"""Prints, for every model, a digest of what it predicts and of its state: for comparing two processes."""

from __future__ import annotations

from hashlib import blake2b

from tests.models.problems import UNLABELLED, examples, nasty, pack, pairs


def main() -> None:
    for model, task in pairs:
        running = model.start(task)
        predictions = []
        for inputs, label in [*nasty(task, 60), *examples(task, 200)]:
            predictions.append(running.predict(inputs))
            running.learn(inputs, label)
        print(f"{model!r:.60} {task}", digest(predictions), digest(running.state()))
    for detector in UNLABELLED:
        watching = detector.start()
        predictions = []
        for inputs, _ in examples("binary", 200):
            predictions.append(watching.predict(inputs))
            watching.learn(inputs)
        print(f"{detector!r:.60}", digest(predictions), digest(watching.state()))


def digest(value: object) -> str:
    return blake2b(pack(value), digest_size=8).hexdigest()


if __name__ == "__main__":
    main()
