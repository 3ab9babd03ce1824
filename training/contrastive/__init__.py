"""RemoteCLIP's continual pre-training: captioned images against their sentences, on one process or many.

recipe.py       what a run is made of, from YAML
batches.py      which samples a step sees, and their crops: functions of seed, epoch and sample alone
sources.py      the shards, the validation data and the manifest
start.py        the towers and the weights they start from
state.py        what is saved between two steps, and how the towers are made ready
loss.py         InfoNCE over the features of all processes
gradient.py     its gradient in pieces that fit the memory (cached features)
validation.py   caption retrieval, by which the best checkpoint is kept
run.py          the loop: resumable, logged, ending in a checkpoint with its card
"""
