"""REST views of inference: members see the models they can use, operators see and change all."""
