"""Inference: models, pools, replicas; one attempt on one given replica."""
