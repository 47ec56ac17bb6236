"""Upstreams: found (``resolve``), verified (``verify``), and built by ``s3prl_runner``.

A :class:`~s3prl_emotion.upstreams.reference.UpstreamRef` goes from one step to the next. Also here: names, drop-in
folders, formats, size and rate, trust, and error messages. Nothing here imports S3PRL by itself;
importing this package loads neither torch nor transformers.
"""
