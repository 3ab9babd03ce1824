"""RemoteCLIP's continual pre-training: captioned images against their sentences, on one process or many.

recipe.py       what a run is made of, from YAML
batches.py      which samples a step sees, and their crops: functions of seed, epoch and sample alone
towers.py       an image tower and a text tower with what the loop needs of them
processes.py    one process, or those that torchrun started
loss.py         InfoNCE over the features of all processes
gradient.py     its gradient in pieces that fit the memory (cached features)
validation.py   caption retrieval, by which the best checkpoint is kept
run.py          the loop: resumable, logged, ending in a checkpoint with its card
"""
