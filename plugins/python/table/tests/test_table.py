"""The plugin, natively: `python3 -m unittest discover tests`, with hostler_guest on PYTHONPATH."""

import unittest

import table
from hostler_guest import Failure, testing

SALES = "item;price;note\ntea;3;\nmilk;1;\nbread;2;fresh\n"


class Table(unittest.TestCase):
    def test_columns_are_told_apart(self) -> None:
        summary = table.summarize("item,price,note\ntea,3,\nmilk,1.5,\ntea,3,\n\n")
        self.assertEqual((summary.rows, summary.delimiter), (3, ","))
        item, price, note = summary.columns
        self.assertEqual((item.kind, item.distinct, item.most_common), ("text", 2, ["tea", "milk"]))
        self.assertEqual((price.kind, price.numbers.smallest, price.numbers.mean), ("number", 1.5, 2.5))
        self.assertEqual((note.kind, note.filled), ("empty", 0))

    def test_the_delimiter_is_found_out_or_given(self) -> None:
        self.assertEqual(table.summarize(SALES).delimiter, ";")
        self.assertEqual([c.name for c in table.summarize("a|b\n1|2\n", delimiter=",").columns], ["a|b"])
        self.assertEqual(table.summarize("alone\nnan\n").columns[0].kind, "text")

    def test_what_is_no_table_fails(self) -> None:
        for text, more, code in [("", {}, "NO_HEADER"), ("a,b\n1,2,3\n", {}, "ROW_TOO_LONG"), ("a", {"delimiter": ""}, "BAD_DELIMITER")]:
            with self.assertRaises(Failure) as caught:
                testing.call(table, "summarize", {"csv_text": text} | more)
            self.assertEqual((caught.exception.code, caught.exception.retry), (code, "never"))

    def test_it_is_logged(self) -> None:
        with testing.in_attempt() as seen:
            table.summarize("a,b\n1,2\n")
        self.assertEqual(seen.logs, [("info", "1 rows of 2 columns")])


if __name__ == "__main__":
    unittest.main()
