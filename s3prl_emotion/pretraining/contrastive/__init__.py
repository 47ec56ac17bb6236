"""Contrastive pretraining from clusters within each speaker (arXiv 2401.11017).

Within one speaker, embeddings fall into clusters that may follow emotion; pairs from those clusters are supervision
that costs no labels.

One file per stage: :mod:`embed`, :mod:`cluster`, :mod:`training`, :mod:`export`; :mod:`recipe` is all
of them, :mod:`analysis` asks whether clusters follow emotion, and :mod:`study` whether they help.
"""
