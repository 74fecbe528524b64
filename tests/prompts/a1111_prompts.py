"""A hundred prompts of the kinds that people publish, with the weights that A1111's rules give.

Each has its texts and weights, worked out by the rules and not by a program: a pair of round
brackets is 1.1, two are 1.21, three 1.331; a pair of square ones 0.909, two 0.826; a number in a
round bracket replaces that bracket's 1.1; nested weights are multiplied. "BREAK" stands alone.
"""

from __future__ import annotations

from typing import Final

Pieces = list[tuple[str, float] | str]
B: Final = "BREAK"

PROMPTS: Final[list[tuple[str, Pieces]]] = [
    # Without syntax.
    ("a red fox in the snow, golden hour", [("a red fox in the snow, golden hour", 1)]),
    ("masterpiece, best quality, 1girl, solo", [("masterpiece, best quality, 1girl, solo", 1)]),
    ("photo, 35mm, f/1.8, bokeh", [("photo, 35mm, f/1.8, bokeh", 1)]),
    ("", []),
    ("time 12:30, ratio 16:9", [("time 12:30, ratio 16:9", 1)]),
    ("a knight:1.3", [("a knight:1.3", 1)]),
    ("a | b", [("a | b", 1)]),
    ("{braces} stay", [("{braces} stay", 1)]),
    ("naïve café, 東京", [("naïve café, 東京", 1)]),
    ("score_9, score_8_up, source_anime", [("score_9, score_8_up, source_anime", 1)]),
    # One round bracket.
    ("(masterpiece), a fox", [("masterpiece", 1.1), (", a fox", 1)]),
    ("a (red) fox", [("a ", 1), ("red", 1.1), (" fox", 1)]),
    ("a fox (sitting)", [("a fox ", 1), ("sitting", 1.1)]),
    ("(a fox)", [("a fox", 1.1)]),
    ("(a), (b)", [("a", 1.1), (", ", 1), ("b", 1.1)]),
    ("(a)(b)", [("ab", 1.1)]),
    ("()", []),
    ("a()b", [("ab", 1)]),
    ("( )", [(" ", 1.1)]),
    ("(best quality, 4k), fox", [("best quality, 4k", 1.1), (", fox", 1)]),
    # Several round brackets.
    ("((masterpiece))", [("masterpiece", 1.21)]),
    ("(((detailed))) fox", [("detailed", 1.331), (" fox", 1)]),
    ("((((sharp))))", [("sharp", 1.4641)]),
    ("((a) b)", [("a", 1.21), (" b", 1.1)]),
    ("(a (b) c)", [("a ", 1.1), ("b", 1.21), (" c", 1.1)]),
    ("(a ((b)))", [("a ", 1.1), ("b", 1.331)]),
    ("((best quality)), ((4k))", [("best quality", 1.21), (", ", 1), ("4k", 1.21)]),
    # Numbers.
    ("(fox:1.3)", [("fox", 1.3)]),
    ("a (red:1.5) fox", [("a ", 1), ("red", 1.5), (" fox", 1)]),
    ("(blurry:0.5), fox", [("blurry", 0.5), (", fox", 1)]),
    ("(fox:2)", [("fox", 2)]),
    ("(fox:.8)", [("fox", 0.8)]),
    ("(fox:1.)", [("fox", 1)]),
    ("(fox:0)", [("fox", 0)]),
    ("(fox:-1)", [("fox", -1)]),
    ("(fox:+1.2)", [("fox", 1.2)]),
    ("(fox: 1.2 )", [("fox", 1.2)]),
    ("(fox :1.2)", [("fox ", 1.2)]),
    ("(a red fox, snow:1.25), trees", [("a red fox, snow", 1.25), (", trees", 1)]),
    ("(fox:1.1), (owl:1.2)", [("fox", 1.1), (", ", 1), ("owl", 1.2)]),
    ("(worst quality:1.4), (low quality:1.4)", [
        ("worst quality", 1.4), (", ", 1), ("low quality", 1.4)]),
    ("(worst quality, low quality:1.4)", [("worst quality, low quality", 1.4)]),
    ("((fox:1.2))", [("fox", 1.32)]),
    ("((fox:1.2), snow:0.5)", [("fox", 0.6), (", snow", 0.5)]),
    ("(a (b:1.5):0.8)", [("a ", 0.8), ("b", 1.2)]),
    ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 1), (" c", 0.5)]),
    ("(a:b:1.4)", [("a:b", 1.4)]),
    ("(16:9)", [("16", 9)]),
    ("(ratio 16:9 wide)", [("ratio 16:9 wide", 1.1)]),
    ("(fox:1.2 snow)", [("fox:1.2 snow", 1.1)]),
    ("(fox:)", [("fox:", 1.1)]),
    ("(fox:big)", [("fox:big", 1.1)]),
    ("(fox:1.2.3)", [("fox:1.2.3", 1.1)]),
    ("(:1.2)", []),
    ("fox:1.2)", [("fox:1.2)", 1)]),
    ("(<name>:1.2)", [("<name>", 1.2)]),
    # Square brackets.
    ("[blurry]", [("blurry", 1 / 1.1)]),
    ("a [red] fox", [("a ", 1), ("red", 1 / 1.1), (" fox", 1)]),
    ("[[blurry]]", [("blurry", 1 / 1.21)]),
    ("[[[noise]]], fox", [("noise", 1 / 1.331), (", fox", 1)]),
    ("[a [b] c]", [("a ", 1 / 1.1), ("b", 1 / 1.21), (" c", 1 / 1.1)]),
    ("[fox:1.5]", [("fox:1.5", 1 / 1.1)]),
    ("[]", []),
    ("[a]b[c]", [("a", 1 / 1.1), ("b", 1), ("c", 1 / 1.1)]),
    # Both kinds.
    ("([fox])", [("fox", 1)]),
    ("[(fox)]", [("fox", 1)]),
    ("[(fox:1.5)]", [("fox", 1.5 / 1.1)]),
    ("([fox]:1.5)", [("fox", 1.5 / 1.1)]),
    ("(a), [b], c", [("a", 1.1), (", ", 1), ("b", 1 / 1.1), (", c", 1)]),
    ("((a)), [b:1.2)", [("a", 1.21), (", ", 1), ("b:1.2)", 1 / 1.1)]),
    ("(a [b) c]", [("a ", 1.1), ("b", 1), (" c", 1 / 1.1)]),
    ("[a (b] c)", [("a ", 1 / 1.1), ("b", 1), (" c", 1.1)]),
    # Brackets that are not closed or not opened.
    ("(fox", [("fox", 1.1)]),
    ("a ((fox) snow", [("a ", 1), ("fox", 1.21), (" snow", 1.1)]),
    ("((fox", [("fox", 1.21)]),
    ("fox)", [("fox)", 1)]),
    ("a) (b", [("a) ", 1), ("b", 1.1)]),
    ("[fox", [("fox", 1 / 1.1)]),
    ("fox]", [("fox]", 1)]),
    ("(fox]", [("fox]", 1.1)]),
    ("[fox)", [("fox)", 1 / 1.1)]),
    ("(fox:1.3", [("fox:1.3", 1.1)]),
    ("(fox)) snow", [("fox", 1.1), (") snow", 1)]),
    ("(a, (b:1.2), c", [("a, ", 1.1), ("b", 1.32), (", c", 1.1)]),
    # Escapes.
    (r"fox \(animal\)", [("fox (animal)", 1)]),
    (r"(fox \(animal\):1.2)", [("fox (animal)", 1.2)]),
    (r"\[fox\]", [("[fox]", 1)]),
    (r"(\(fox\))", [("(fox)", 1.1)]),
    (r"a\\b", [("a\\b", 1)]),
    (r"a\b", [("ab", 1)]),
    (r"fox \(a", [("fox (a", 1)]),
    (r"\((fox)", [("(", 1), ("fox", 1.1)]),
    (r"series \(2020\), (red:1.1)", [("series (2020), ", 1), ("red", 1.1)]),
    ("fox\\", [("fox", 1)]),
    # BREAK.
    ("a fox BREAK snow", [("a fox", 1), B, ("snow", 1)]),
    ("a BREAK b BREAK c", [("a", 1), B, ("b", 1), B, ("c", 1)]),
    ("(a) BREAK [b]", [("a", 1.1), B, ("b", 1 / 1.1)]),
    ("a\nBREAK\nb", [("a", 1), B, ("b", 1)]),
    ("BREAK a", [B, ("a", 1)]),
    ("a BREAK", [("a", 1), B]),
    ("BREAKFAST, break", [("BREAKFAST, break", 1)]),
    ("(a BREAK b:1.2)", [("a", 1.2), B, ("b", 1.2)]),
    # Whole prompts.
    (
        "(masterpiece:1.2), best quality, ((fox)), [trees], snow \\(weather\\), (light:0.8)",
        [
            ("masterpiece", 1.2), (", best quality, ", 1), ("fox", 1.21), (", ", 1),
            ("trees", 1 / 1.1), (", snow (weather), ", 1), ("light", 0.8),
        ],
    ),
    (
        "portrait of a queen, (intricate, elegant:1.1), [[hands]], by no one, 8k",
        [
            ("portrait of a queen, ", 1), ("intricate, elegant", 1.1), (", ", 1),
            ("hands", 1 / 1.21), (", by no one, 8k", 1),
        ],
    ),
    (
        "(worst quality, low quality:1.4), (bad (hands:1.2)), text, [logo]",
        [
            ("worst quality, low quality", 1.4), (", ", 1), ("bad ", 1.1), ("hands", 1.32),
            (", text, ", 1), ("logo", 1 / 1.1),
        ],
    ),
]  # fmt: skip
"""Prompts, and the texts and weights that the tokenizer gets."""

A, D = "a", "d"
SCHEDULES: Final[list[tuple[str, int, list[str]]]] = [
    ("[a:d:0.5]", 4, [A, A, D, D]),
    ("[a:d:.25]", 4, [A, D, D, D]),
    ("[a:d:1]", 4, [A, D, D, D]),
    ("[a:d:3]", 4, [A, A, A, D]),
    ("[a:d:0]", 4, [D, D, D, D]),
    ("[a:d:0.0]", 4, [D, D, D, D]),
    ("[a:d:1.0]", 4, [A, A, A, A]),
    ("[a:d:9]", 4, [A, A, A, A]),
    ("[a:d:-1]", 4, [D, D, D, D]),
    ("[a:d: 2 ]", 4, [A, A, D, D]),
    ("[a:d:1e0]", 4, [A, D, D, D]),
    ("[a:d:0.3]", 10, [A] * 3 + [D] * 7),
    ("[a:d:0.35]", 10, [A] * 3 + [D] * 7),
    ("[d:0.5]", 4, ["", "", D, D]),
    ("[:d:0.5]", 4, ["", "", D, D]),
    ("[a::0.5]", 4, [A, A, "", ""]),
    ("x [a:d:0.5], y", 2, ["x a, y", "x d, y"]),
    ("x[ and d:1]", 2, ["x", "x and d"]),
    ("[a|d]", 4, [A, D, A, D]),
    ("[a|d|e]", 4, [A, D, "e", A]),
    ("[a|]", 3, [A, "", A]),
    ("[|a]", 3, ["", A, ""]),
    ("x [a|d] y", 2, ["x a y", "x d y"]),
    ("[(a:1.2):d:1]", 2, ["(a:1.2)", D]),
    ("([a:d:1]:1.3)", 2, ["(a:1.3)", "(d:1.3)"]),
    ("[[a|e]:d:0.5]", 4, [A, "e", D, D]),
    ("[a:[d:e:3]:1]", 4, [A, D, D, "e"]),
    ("[[b]:d:1]", 2, ["[b]", D]),
    ("[a:d:1] [e:f:2]", 3, ["a e", "d e", "d f"]),
    (r"[a\:b:d:1]", 2, [r"a\:b", D]),
    (r"[a\|b|d]", 2, [r"a\|b", D]),
    ("[a:b:c:1]", 2, ["[a:b:c:1]"] * 2),
    ("[a:d]", 2, ["[a:d]"] * 2),
    ("[a:d:x]", 2, ["[a:d:x]"] * 2),
    ("[a|d:1]", 2, ["[a|d:1]"] * 2),
    ("[a:d:1", 2, ["[a:d:1"] * 2),
    ("a:d:1]", 2, ["a:d:1]"] * 2),
    ("[a (d:e:1]", 2, ["[a (d:e:1]"] * 2),
    (r"\[a:d:1\]", 2, [r"\[a:d:1\]"] * 2),
    ("(a:1.2)", 2, ["(a:1.2)"] * 2),
]
"""Prompts, the steps of the run, and the text of each step."""

COMBINATIONS: Final[list[tuple[str, list[tuple[str, float]]]]] = [
    ("a AND b", [("a ", 1), (" b", 1)]),
    ("a :1.2 AND b :0.5", [("a", 1.2), (" b", 0.5)]),
    ("a:2 AND b", [("a", 2), (" b", 1)]),
    ("a AND b : -0.5 ", [("a ", 1), (" b", -0.5)]),
    ("a AND b AND c :.3", [("a ", 1), (" b ", 1), (" c", 0.3)]),
    ("(a:1.2) AND b", [("(a:1.2) ", 1), (" b", 1)]),
    ("a 16:9 AND b", [("a 16", 9), (" b", 1)]),
    ("a and b", [("a and b", 1)]),
    ("a:1.2", [("a:1.2", 1)]),
    ("SAND ANDY", [("SAND ANDY", 1)]),
    ("a AND", [("a ", 1), ("", 1)]),
]
"""Prompts, and the texts and weights of the prompts that AND combines."""
