"""Texts that tokenizers stumble over, and the prose that small vocabularies are trained on."""

from __future__ import annotations

import random
import unicodedata

PROSE = """The quick brown fox jumps over the lazy dog. It was the best of times, it was the worst of times.
She sells sea shells by the sea shore, and he doesn't know why they're sold in 1984 or 2026.
Natural language models read tokens, not words; a tokenizer cuts text into pieces that the model knows.
def main(args): return [x ** 2 for x in range(10) if x % 2 == 0]  # squares
for (int i = 0; i < n; ++i) { sum += a[i]; } // done
https://example.org/path?query=value&other=1 user@example.com +49 30 1234567 $3.50 100% #tag @name
Der schnelle braune Fuchs springt über den faulen Hund. Größe, Straße, Übermut, naïve façade, crème brûlée.
El zorro marrón salta sobre el perro perezoso. ¿Dónde está la biblioteca? ¡Mañana será otro día!
Le cœur a ses raisons que la raison ne connaît point. L'été, où êtes-vous? C'est déjà ça.
Быстрая коричневая лиса прыгает через ленивую собаку. Всё хорошо, что хорошо кончается.
Η γρήγορη καφέ αλεπού πηδάει πάνω από το τεμπέλικο σκυλί.
الثعلب البني السريع يقفز فوق الكلب الكسول. السلام عليكم
השועל החום המהיר קופץ מעל הכלב העצלן. שלום עולם
素早い茶色の狐が怠け者の犬を飛び越える。東京は日本の首都です。
敏捷的棕色狐狸跳过了懒狗。北京是中国的首都。我喜欢学习语言模型。
빠른 갈색 여우가 게으른 개를 뛰어넘는다. 안녕하세요 세계
สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ สวัสดีชาวโลก
तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है। नमस्ते दुनिया
Zażółć gęślą jaźń. Příliš žluťoučký kůň úpěl ďábelské ódy. Việt Nam đẹp lắm."""

SPECIAL = [
    "<s>", "</s>", "<pad>", "<unk>", "<mask>", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "<|endoftext|>",
    "<|startoftext|>", "<extra_id_0>", "<bos>", "<eos>", "en_XX", "eng_Latn", "<0x0A>", "▁", "Ġ", "##ing", "</w>",
    "<mask_1>", "<cls>", "<sep>", "<eop>", "<new>",
]  # fmt: skip

HANDMADE = [
    "", " ", "   ", "\t", "\n", "\r\n", "\n\n\n", " \t\n ", "\u00a0", "\u3000", "\u2009", "\u200b", "\ufeff", "\x00",
    "a\x00b", "\x01\x02\x1b[0m", "\x7f\x85", "a\u0085b", "a\u2028b\u2029c", "\u200e\u200f", "\u202eabc\u202c",
    "\ufffd", "a\ufffdb", "\ue000", "\U0010fffd", "\U000f0000x", "a", "A", "é", "e\u0301", "É", "E\u0301", "ﬁ", "ﬃx",
    "ﬁne ﬂow", "Ｆｕｌｌ　Ｗｉｄｔｈ", "１２３", "①②③", "½ ¼", "x²", "Å Å", "ǆ ǅ Ǆ", "ß ẞ", "İ i̇ ı", "ſ", "ŉ",
    "Ω Ω", "ℌ ℍ", "™ © ®", "…", "“quoted” ‘text’", "—–-", "``old'' quotes", "''", "it's I'm we've you'll he'd they're",
    "IT'S", "don't can't", "a.b,c;d:e!f?g", "(a) [b] {c} <d>", "a_b-c", "1,234,567.89", "3.14159", "0x1F", "12345678901234567890",
    "१२३", "٠١٢٣", "a1b2c3", "CamelCaseWord", "snake_case_word", "UPPER lower", "😀", "😀😀", "👍🏽", "👨‍👩‍👧‍👦",
    "🏳️‍🌈", "🇩🇪🇫🇷", "☺️", "1️⃣", "x😀y", "😀 x", "🧑🏿‍🚀 in space", "❤️", "𝓗𝓮𝓵𝓵𝓸", "𝟙𝟚", "𠮷野家", "שלום", "שָׁלוֹם", "مرحبا بالعالم",
    "مَرْحَبًا", "abc שלום 123", "ﷺ", "ـــ", "東京", "東京タワー", "ガ", "カ\u3099", "ｶﾞ", "北京 是", "中文English混合", "안녕", "한글",
    "สวัสดี", "น้ำ", "नमस्ते", "क्षि", "ཨོཾ", "ᚠᚢ", "𐍈", "ꙮ", "e\u0301\u0327", "\u0301", "a\u0300\u0316\u0300", "q\u0307\u0323", "Z\u0351\u036b\u0343algo",
    "Việt", "Vie\u0302\u0323t", "Ṩ", "Ǻ", "가", "\u1100\u1161", "a" * 40, "ab" * 30, "x" * 120, " " * 20 + "x", "x" + " " * 20,
    "!" * 20, "." * 30, "-" * 25, "=" * 16, "\n" * 8, "\t\tx", "a\tb\nc", "a \n b", "line one\nline two\r\nline three\rfour",
    "  leading", "trailing  ", "two  spaces", "three   spaces   here", " a ", "a\u00a0b", "a\u3000b", "a\u200bb", "a\u200db",
    "a\u00adb", "a\u2060b", "def f(x):\n    return x + 1\n", "if (a && b) { c->d(); }", "SELECT * FROM t WHERE a='b';",
    "<html><body>hi</body></html>", "{\"key\": [1, 2.5, null]}", "\\n \\t \\u0041", "C:\\dir\\file.txt", "/usr/bin/env",
    "https://example.org/a?b=c&d=%20#e", "user@example.com", "www.example.com.", "#hashtag @user", "$1.99 €5 £6 ¥7", "50%",
    "a/b/c", "a--b", "e.g. i.e. etc.", "Mr. O'Neil's", "rock'n'roll", "'tis", "a '", "' a", "Hello , world !", "Hello ?",
    "he said ' yes '", "The quick brown fox", "the Quick BROWN fox", "tokenizers", "untrainable", "naïve façade", "nai\u0308ve fac\u0327ade",
    "Straße", "STRASSE", "über", "u\u0308ber", "Ελληνικά ς Σ", "Русский ё ЁЖ", "Türkçe ıİ", "ไทย ๑๒๓", "日本語。テスト、", "「引用」", "：；！？",
    "▁a", "a▁b", "▁▁", "a ▁ b", "Ġa", "âĢĭ", "<0xE2>", "\ud7ff\ue000", "a\u0301 b\u0301", "1 000", "1\u202f000", "−5", "×÷",
]  # fmt: skip


def texts() -> list[str]:
    """All of them: made by hand, with special tokens, and mixed by chance, always the same."""
    found = list(HANDMADE)
    for token in SPECIAL:
        found.append(token)
    for token in ("<s>", "<mask>", "[MASK]", "<|endoftext|>", "</s>", "<extra_id_0>", "<new>"):
        found += [f"a {token} b", f"a{token}b", f"{token}{token}", f"x  {token}  y", token.upper(), token[:-1]]
    draw = random.Random(5)
    words = PROSE.split()
    pieces = words + SPECIAL + [text for text in HANDMADE if text and len(text) < 12]
    for count in (2, 3, 5, 8, 12, 20):
        for _ in range(3):
            found.append(" ".join(draw.choice(pieces) for _ in range(count)))
    found += PROSE.splitlines()[:4]
    assert all(unicodedata.category(char) != "Cs" for text in found for char in text), "no surrogates"
    return list(dict.fromkeys(found))
