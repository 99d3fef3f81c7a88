"""What an operator grants, natively."""

import unittest
from datetime import timedelta
from types import SimpleNamespace

from hostler_guest import Failure, host, keyvalue, tasks, testing

# Outside of any attempt, as at the top of a plugin's module.
VISITS = keyvalue.bucket("visits")


class Powers(unittest.TestCase):
    def test_what_is_sent_is_seen_and_a_key_is_sent_once(self) -> None:
        with testing.in_attempt() as seen:
            first = tasks.send("text.word_count", {"text": "Grüße 🦀"}, key="a")
            again = tasks.send("text.word_count", {"text": "Grüße 🦀"}, key="a", delay=timedelta(seconds=7))
            delayed = tasks.send("text.word_count", delay=timedelta(seconds=1))
        self.assertEqual(first, again)
        self.assertNotEqual(first, delayed)
        sent = [(one.id, one.task, one.args, one.key, one.delay_ms) for one in seen.sent]
        self.assertEqual(sent[0], (first, "text.word_count", {"text": "Grüße 🦀"}, "a", None))
        self.assertEqual(sent[1:], [(delayed, "text.word_count", None, None, 1000)])

    def test_what_is_not_sent_is_a_failure_with_the_reason(self) -> None:
        for send, words in [
            (lambda: tasks.send("a.b", 2, key="k"), "sending a.b: KEY_CONFLICT: "),
            (lambda: tasks.send("a.b", float("nan")), "not JSON compliant"),
            (lambda: tasks.send("a.b", delay=timedelta(seconds=-1)), "cannot be delayed by -1000 ms"),
        ]:
            with testing.in_attempt(), self.assertRaises(Failure) as caught:
                tasks.send("a.b", 1, key="k")
                send()
            self.assertEqual(caught.exception.code, "SEND_FAILED")
            self.assertIn(words, caught.exception.message)

    def test_values_are_kept_read_and_counted(self) -> None:
        before = {"visits": {"page": b"41", "gone": b"x"}}
        with testing.in_attempt(buckets=before) as seen:
            VISITS.set("text", "Grüße")
            VISITS.set("bytes", bytearray(b"\xff"))
            VISITS.delete("gone")
            VISITS.delete("never")
            self.assertEqual((VISITS.increment("page"), VISITS.increment("new", 5)), (42, 5))
            self.assertEqual((VISITS.get("text"), VISITS.get("gone")), ("Grüße".encode(), None))
            self.assertEqual((VISITS.exists("text"), VISITS.exists("gone")), (True, False))
            self.assertEqual(list(VISITS.keys()), ["page", "text", "bytes", "new"])
        kept = {"page": b"42", "text": "Grüße".encode(), "bytes": b"\xff", "new": b"5"}
        self.assertEqual(seen.buckets, {"visits": kept})
        self.assertEqual(before["visits"]["page"], b"41", "the test's own is left alone")
        with testing.in_attempt():
            self.assertIsNone(VISITS.get("page"), "another test has other buckets")

    def test_what_is_not_kept_is_a_failure_with_the_reason(self) -> None:
        for delta, words in [(1, "no decimal number"), (-1, "no whole number"), (0.5, "no whole number")]:
            with testing.in_attempt(buckets={"visits": {"x": b"many"}}), self.assertRaises(Failure) as caught:
                VISITS.increment("x", delta)  # type: ignore[arg-type]
            self.assertEqual(caught.exception.code, "KEYVALUE_FAILED")
            self.assertIn("the bucket 'visits': ", caught.exception.message)
            self.assertIn(words, caught.exception.message)

    def test_all_pages_of_keys_are_asked_for(self) -> None:
        pages = {None: (["a", "b"], 7), 7: ([], 9), 9: (["c"], None)}
        opened = SimpleNamespace(
            list_keys=lambda cursor: SimpleNamespace(keys=pages[cursor][0], cursor=pages[cursor][1])
        )
        before = host.enter(SimpleNamespace(keyvalue=SimpleNamespace(open=lambda name: opened)))
        try:
            self.assertEqual(list(VISITS.keys()), ["a", "b", "c"])
        finally:
            host.enter(before)

    def test_without_a_test_around_it_nothing_is_kept_and_nothing_fails(self) -> None:
        VISITS.set("a", "1")
        self.assertEqual((VISITS.get("a"), VISITS.increment("a", 2), list(VISITS.keys())), (None, 2, []))
        self.assertEqual(tasks.send("a.b"), "00000000-0000-0000-0000-000000000000")


if __name__ == "__main__":
    unittest.main()
