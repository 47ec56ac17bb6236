"""FLEA (arXiv 2312.16383): an utterance's label does not hold for each frame, so frames get labels of their own.

One file per stage: :mod:`tapt`, :mod:`finetune`, :mod:`cluster`, :mod:`cpt`, :mod:`export`; :mod:`recipe` is all of
them and :mod:`grid` several layers and cluster counts.
"""
