"""``python -m s3prl_emotion COMMAND``."""

import sys

from s3prl_emotion.cli import main

if __name__ == "__main__":
    sys.exit(main())
