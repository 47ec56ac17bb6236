"""What an upstream is: found (``resolve``), checked to be the one of a training (``verify``), and built by ``bridge``.

:class:`~s3prl_emotion.upstreams.reference.UpstreamRef` goes from one step to the next. Beside them: names, drop-in folders,
formats, size and rate, trust, and what is said when something goes wrong. Nothing here imports S3PRL by itself;
importing this package loads neither torch nor transformers.
"""
