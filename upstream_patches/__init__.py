"""One small adapter file per upstream family of ours: its public functions are ``-u`` names.

Each function has the signature of S3PRL's hubconf entries, ``name(ckpt, model_config=None, refresh=False, **kwargs)``,
and returns a module that maps a list of waveforms to ``{"hidden_states": [...], "last_hidden_state": ...}``.
Files here import torch and transformers inside their functions, so that listing the names stays light.
"""
