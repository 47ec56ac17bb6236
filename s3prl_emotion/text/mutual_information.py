"""Mutual information of sentences and emotion labels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from s3prl_emotion.text.transcripts import normalise_words

REPEATED = 2.0
"""Utterances to a sentence, at least, for the figure to say anything; the bound is ours."""
LITTLE = 0.05
"""Share of the label's bits at which text alone counts as chance; the bound is ours."""


@dataclass(frozen=True)
class TextInformation:
    """What the sentences of a corpus tell about its labels."""

    utterances: int
    sentences: int  # different ones
    bits: float  # mutual information of sentence and label, less its bias
    label_bits: float  # entropy of the label

    @property
    def is_chance(self) -> bool:
        """Whether sentences are said again and again, and tell next to nothing: text alone cannot know the label."""
        return self.utterances >= REPEATED * self.sentences and self.bits <= LITTLE * self.label_bits

    def remark(self, heard: bool = False) -> str:
        """One sentence for people; empty where sentences are hardly ever said twice, and the figure says nothing.

        Args:
            heard: texts are a recogniser's, and these sentences the script's: what it gets wrong may tell of emotions
        """
        if self.utterances < REPEATED * self.sentences:
            return ""
        told = (
            f"{self.sentences} sentences of {self.utterances} utterances tell {self.bits:.2f} of the label's "
            f"{self.label_bits:.2f} bits"
        )
        verdict = (
            "what was heard can tell more only by its errors" if heard else "text alone is at chance on this corpus"
        )
        return f"{told}: {verdict}" if self.is_chance else told


def text_information(texts: Sequence[str], labels: Sequence[str]) -> TextInformation:
    r"""Mutual information of sentence and label, in bits, corrected for the number of cells (Miller and Madow, 1955).

    .. math:: I = \sum_{s,l} p_{sl} \log_2 \frac{p_{sl}}{p_s p_l} - \frac{(|S| - 1)(|L| - 1)}{2 N \ln 2},

    not below 0 and not above the label's entropy. Sentences are equal if their words are, see
    :func:`~s3prl_emotion.text.transcripts.normalise_words`.
    """
    said = [" ".join(normalise_words(text)) for text in texts]
    pairs, sentences, emotions = Counter(zip(said, labels, strict=True)), Counter(said), Counter(labels)
    count = len(said)
    entropy = -sum(n / count * math.log2(n / count) for n in emotions.values())
    found = sum(
        n / count * math.log2(n * count / (sentences[sentence] * emotions[emotion]))
        for (sentence, emotion), n in pairs.items()
    )
    bias = (len(sentences) - 1) * (len(emotions) - 1) / (2 * count * math.log(2)) if count else 0.0
    return TextInformation(count, len(sentences), min(max(found - bias, 0.0), abs(entropy)), abs(entropy))
