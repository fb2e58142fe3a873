#!/usr/bin/python3
"""rouge_golden.py - the fixtures of tests/test_rouge.c, made by Google's rouge_score and NLTK themselves.

  scripts/rouge_golden.py            writes tests/golden/rouge_pairs.jsonl and tests/golden/porter_words.txt
  scripts/rouge_golden.py --check    scores and stems what is in the files again and compares; exit 1 on a difference

rouge_pairs.jsonl: a line of versions, then one pair a line: candidate, references, and precision, recall, F1 of rouge1, rouge2, rougeL,
rougeLsum with stemming (stem) and, where they differ, without (plain). porter_words.txt: word and stem. The words come from the King
James text (scripts/prepare_kjv.sh build/data/kjv) and from stems and endings put together.

Needs rouge_score 0.1.2 and nltk: python3 -m venv build/peers/rouge && build/peers/rouge/bin/pip install rouge_score==0.1.2 nltk
"""
import glob
import importlib.metadata
import json
import os
import platform
import random
import re
import sys

from nltk.stem.porter import PorterStemmer
from rouge_score import rouge_scorer

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAIRS = os.path.join(ROOT, "tests", "golden", "rouge_pairs.jsonl")
WORDS = os.path.join(ROOT, "tests", "golden", "porter_words.txt")
KINDS = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
SCORERS = {name: rouge_scorer.RougeScorer(KINDS, use_stemmer=name == "stem") for name in ("stem", "plain")}

# Candidate, references.
ODD = [
    ("", [""]), ("", ["a word"]), ("a word", [""]), (" \t\n", ["\n\n"]), ("...", ["a"]), ("a", ["!?"]), ("a", ["a"]), ("a", ["b"]),
    ("word", ["word"]), ("Word", ["WORD"]), ("one two", ["one"]), ("one", ["one two"]), ("one two", ["two one"]),
    # the package's own tests
    ("testing one two", ["testing"]), ("testing", ["testing one two"]), ("testing one two", ["testing one two"]),
    ("w1 w2 w3 w4 w5", ["w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5"]), ("w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", ["w1 w2 w3 w4 w5"]),
    ("first text\nfirst something", ["text first", "first text", "first text\nfirst something else"]),
    # several references: the largest F1 of each kind, the first of equal ones
    ("a b c d", ["a b c d e f", "a b", "d c b a"]), ("a b", ["a", "b"]), ("a b", ["b c d e f", "a"]), ("x", ["", "x", "x"]),
    ("x", ["", ""]), ("a b c\nd e", ["a c", "d e\na b c", ""]),
    # repeated words and the clipping of their counts
    ("the the the the", ["the cat the"]), ("the cat the", ["the the the the"]), ("a a a", ["a a a a a"]), ("a b a b a", ["b a b a b"]),
    ("a\na\na", ["a"]), ("a", ["a\na\na"]), ("a b\na b\na b", ["a b b a"]), ("a b c\na b c", ["a b c"]), ("x y x\ny x y", ["x x\ny y"]),
    # lines
    ("a b\nc d", ["c d\na b"]), ("a b\r\nc d\r\n", ["a b\nc d"]), ("a b\rc d", ["a b\nc d"]), ("a b\n\n\nc d\n", ["\n\na b\n \nc d"]),
    ("a b\vc d\fe", ["a b c\nd e"]), ("a b\u2028c\u2029d\u0085e", ["a b\nc d e"]), ("a\n.\nb", ["a b"]), ("a\x00b", ["a b"]),
    # the tie rule: which of two longest subsequences is read out
    ("a b\nb c", ["b a c"]), ("b a\na c", ["a b c a"]), ("c a b d\nd b", ["a c d b a"]), ("a b c b d a b\na", ["b d c a b a"]),
    ("b c a\nc b", ["a b c a b"]), ("x a x b\nx c", ["a x b x c x"]),
    # characters
    ("caf\u00e9 na\u00efve", ["cafe naive"]), ("caf\u00e9", ["caf"]), ("Stra\u00dfe", ["strasse stra e"]),
    ("\u0130stanbul \u0130", ["i stanbul i"]), ("\u0130STANBUL", ["istanbul"]), ("\u212aelvin 300 \u212a", ["kelvin 300 k"]),
    ("\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2 abc", ["\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2 abc"]),
    ("\u65e5\u672c\u8a9e tokyo", ["tokyo \u65e5\u672c\u8a9e"]), ("\u65e5\u672c\u8a9e", ["\u65e5\u672c\u8a9e"]),
    ("\uff11\uff12 \uff41bc", ["12 abc bc"]), ("\u0661\u0662", ["12"]), ("x\U0001f600y", ["x y"]), ("\ufb01sh", ["fish sh"]),
    ("a\u0301bc", ["a bc"]), ("don\u2019t it's", ["don't it\u2019s"]), ("rock'n'roll", ["rock n roll"]), ("o'clock", ["oclock"]),
    ("snake_case_name", ["snake case name"]), ("__init__", ["init"]), ("well-known", ["wellknown", "well known"]), ("\ufeffword", ["word"]),
    ("a\u00a0b\u3000c", ["a b c"]), ("\u00c5ngstr\u00f6m \u212b", ["\u00e5ngstr\u00f6m"]), ("x\ufffdy", ["x y"]),
    # numbers
    ("3.14 1,000 2024", ["3 14 1000 2024"]), ("1000 10000s 1990s", ["1000 10000 1990"]), ("covid19 b2b 4th", ["covid 19 b2b 4"]),
    ("12 12 12", ["12"]), ("7eed 77ing 7eing", ["7eed 77 7e"]),
    # the stemmer: short words stay, irregular forms, NLTK's own rules
    ("cats dogs was his ran", ["cat dog wa hi run"]), ("skies sky dying lying tying", ["sky sky die lie tie"]),
    ("news innings outings cannings howe proceed exceed succeed", ["new inning outing canning how proceeding exceeds succeeded"]),
    ("dies flies ties died spied tied", ["die fly tie die spy tie"]), ("enjoy enjoyed happy happily sky spy", ["enjoying enjoys happiness"]),
    ("rationally theologically archaeology geology", ["rational theology archaeological geological"]),
    ("falling hissing fizzed hopping tanned", ["fall hiss fizz hop tan"]), ("conditional relational rational", ["condition relate ration"]),
    ("generalizations oscillators vietnamization", ["general oscillate vietnamize"]), ("agreed feed bleed seed", ["agree fee bleeding seeded"]),
    ("running runs runner ran", ["run running runs"]), ("sses ssss iess eeds yyyy aing", ["sse sss ies eed yyy a"]),
    ("THE QUICK BROWN FOX", ["the quick brown fox"]), ("pneumonoultramicroscopicsilicovolcanoconiosis " * 3, ["pneumonoultramicroscopic" * 9]),
]

BASES = ("relat condit ration val hesit digit conform radic differ vil analog vietnam predic oper feud decis hope call form sensit tripl electr "
         "good reviv allow infer airlin gyroscop adjust defens irrit replac depend adopt homolog commun activ angul effect bowdler prob ceas "
         "contr roll hop tann fall hiss fizz fail fil happ sk plaster bl mot s pon t car cat agr fe tro trouble siz conflat y ay yy toy "
         "syzyg be ab a o io theo geo bio archaeo pl ew ox ix").split()
ENDINGS = ("s es ies sses ss ed ied eed ing at ated bl bling iz izing y ational tional enci anci izer bli abli alli entli eli ousli ization "
           "ation ator alism iveness fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful ness al ance ence er ic "
           "able ible ant ement ment ent ion sion tion ou ism ate iti ous ive ize e ll lled ly ally fully").split()


def texts():
    """The King James text, {book: text}."""
    files = sorted(glob.glob(os.path.join(ROOT, "build", "data", "kjv", "*", "*.txt")))
    if not files:
        sys.exit("rouge_golden.py: no text in build/data/kjv; first run scripts/prepare_kjv.sh build/data/kjv")
    return [open(f, encoding="ascii").read() for f in files]


def make_words(r):
    words = {w for t in texts() for w in re.findall("[a-z]+", t.lower())}
    made = {b + e for b in BASES for e in ENDINGS} | {b + e + f for b in BASES for e in ENDINGS for f in ("s", "ly", "ed", "ness")}
    short = set("a y i by my say yes was his the and sky skies dying lying tying news inning innings outing outings canning cannings howe "
                "proceed exceed succeed proceeds exceeded news7 yyyyyy ayyyy 2nds 1990s 77ing aeiou is as us "
                "fizzed buzzing hissing falling fixing boxed snowed sewing enjoying comfortabled controlled rolled feed bleed agreed".split())
    return sorted(short | set(r.sample(sorted(words), 700)) | set(r.sample(sorted(made - words), 1300)))


def make_pairs(r):
    pairs = list(ODD)
    pools = [["a", "b"], ["a", "b", "c"], list("abcdef"), "run runs running ran runner flies fly flying".split(),
             "the of and king kings land lands caf\u00e9 12 x_y don't".split()]

    def drawn(words, lines):
        pool = r.choice(pools)
        return "\n".join(" ".join(r.choice(pool) for _ in range(r.randint(0, words))) for _ in range(r.randint(1, lines)))

    for _ in range(170):  # few different words: many ties
        pairs.append((drawn(9, 4), [drawn(9, 4) for _ in range(r.choice([1, 1, 1, 2, 3]))]))
    for _ in range(12):  # longer than the 64 rows of a strip
        pairs.append((drawn(150, 2), [drawn(150, 2)]))
    verses = [v for t in texts() for v in re.split("(?<=[.:;?]) ", t.replace("\n", " ")) if 20 < len(v) < 120]
    for _ in range(130):  # what summaries look like: some sentences kept, some changed, some of another place
        at = r.randrange(len(verses) - 20)
        reference = verses[at:at + r.randint(1, 5)]
        candidate = [v for v in reference if r.random() < 0.7] + verses[at + 10:at + 10 + r.randint(0, 2)]
        r.shuffle(candidate)
        words = r.choice(["\n", "\n", " "]).join(candidate).split(" ")
        words = [w for w in words if r.random() < 0.85]
        references = ["\n".join(reference)] + [" ".join(verses[at + 2:at + 4])] * (r.random() < 0.25)
        pairs.append((" ".join(words), references))
    pairs.append((" ".join(r.choice("abcd") for _ in range(1500)), [" ".join(r.choice("abcde") for _ in range(1400))]))
    long = " ".join(verses[5000:5060]).split(" ")
    pairs.append((" ".join(w for w in long if r.random() < 0.7), [" ".join(w for w in long if r.random() < 0.8)]))
    return pairs


def values(scorer, candidate, references):
    scores = scorer.score_multi(references, candidate)
    return [float(x) for kind in KINDS for x in scores[kind]]


def scored(candidate, references):
    row = {"candidate": candidate, "references": references}
    for name, scorer in SCORERS.items():
        row[name] = values(scorer, candidate, references)
    if row["plain"] == row["stem"]:
        del row["plain"]
    return row


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        print(__doc__)
        return 2
    versions = {x: importlib.metadata.version(x) for x in ("rouge_score", "nltk")} | {"python": platform.python_version()}
    if versions["rouge_score"] != "0.1.2":
        sys.exit(f"rouge_golden.py: rouge_score {versions['rouge_score']}, needed is 0.1.2")
    stem = PorterStemmer().stem
    if sys.argv[1:]:
        rows = [json.loads(line) for line in open(PAIRS, encoding="utf-8")][1:]
        bad = sum(scored(x["candidate"], x["references"]) != x for x in rows)
        words = [line.split() for line in open(WORDS, encoding="ascii")]
        worse = sum(stem(w) != s for w, s in words)
        print(f"{len(rows)} pairs, {bad} differ; {len(words)} words, {worse} differ ({versions})")
        return bad + worse > 0
    r = random.Random(1)
    words, pairs = make_words(r), make_pairs(r)
    with open(WORDS, "w", encoding="ascii") as f:
        f.writelines(f"{w} {stem(w)}\n" for w in words)
    with open(PAIRS, "w", encoding="utf-8") as f:
        f.write(json.dumps({"versions": versions}) + "\n")
        f.writelines(json.dumps(scored(*p), ensure_ascii=True) + "\n" for p in pairs)
    for path, n in ((WORDS, len(words)), (PAIRS, len(pairs))):
        print(f"{os.path.relpath(path, ROOT)}: {n} lines, {os.path.getsize(path)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
