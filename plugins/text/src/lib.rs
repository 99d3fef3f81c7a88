//! The plugin `text`: the smallest honest one, and the one in the docs.

use std::cmp::Reverse;
use std::collections::HashMap;

use hostler_guest::prelude::*;

/// The text whose words count.
#[data]
#[derive(Debug)]
pub struct WordCountArgs {
    /// Any text.
    pub text: String,
}

/// What a text holds.
#[data]
#[derive(Debug, PartialEq, Eq)]
pub struct Counts {
    /// Runs of characters between white space.
    pub words: u64,
    /// Lines; the last one needs no line break.
    pub lines: u64,
    /// The length in UTF-8.
    pub bytes: u64,
}

/// Counts words, lines and bytes.
#[task(retries = 3, backoff = exponential(base = "1s", max = "1m"), timeout = "30s", memory = "64 MiB")]
pub fn word_count(args: WordCountArgs) -> Result<Counts, Failure> {
    Ok(Counts {
        words: args.text.split_whitespace().count() as u64,
        lines: args.text.lines().count() as u64,
        bytes: args.text.len() as u64,
    })
}

/// The text whose words are ranked.
#[data]
#[derive(Debug)]
pub struct TopWordsArgs {
    /// Any text.
    pub text: String,
    /// How many words to return, 1 to 1000.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: usize,
}

/// The most frequent words.
#[data]
#[derive(Debug, PartialEq, Eq)]
pub struct Ranking {
    /// The most frequent first, then by the alphabet.
    pub words: Vec<Ranked>,
    /// How many different words there are in all.
    pub distinct: u64,
}

/// One word of a ranking.
#[data]
#[derive(Debug, PartialEq, Eq)]
pub struct Ranked {
    /// The word, in lower case.
    pub word: String,
    /// How often it occurs.
    pub count: u64,
}

/// Ranks words by how often they occur, whatever their case; punctuation around a word does not count.
#[task(retries = 3, backoff = exponential(base = "1s", max = "1m"), timeout = "30s", memory = "256 MiB")]
pub fn top_words(args: TopWordsArgs) -> Result<Ranking, Failure> {
    if !(1..=1000).contains(&args.limit) {
        let message = format!("`limit` is 1 to 1000, not {}", args.limit);
        return Err(Failure::new("LIMIT_OUT_OF_RANGE", message).never());
    }
    let mut counts: HashMap<String, u64> = HashMap::new();
    for word in args.text.split_whitespace() {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        if !word.is_empty() {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    let distinct = counts.len() as u64;
    let mut words: Vec<_> = counts.into_iter().map(|(word, count)| Ranked { word, count }).collect();
    words.sort_unstable_by(|a, b| (Reverse(a.count), &a.word).cmp(&(Reverse(b.count), &b.word)));
    words.truncate(args.limit);
    Ok(Ranking { words, distinct })
}

fn ten() -> usize {
    10
}

hostler_guest::plugin!("text", [word_count, top_words]);

#[cfg(test)]
mod tests {
    use hostler_guest::testing;

    use super::*;

    #[test]
    fn words_lines_and_bytes_are_counted() {
        let counts = word_count(WordCountArgs { text: "one two\nthrée\n".to_owned() });
        assert_eq!(counts, Ok(Counts { words: 3, lines: 2, bytes: 15 }));
    }

    #[test]
    fn the_most_frequent_word_comes_first() {
        let args = json!({ "text": "The cat, the dog. “The” end: cat!", "limit": 2 });
        let ranking = testing::call(&PLUGIN, "top_words", &args);
        let words = json!([{ "word": "the", "count": 3 }, { "word": "cat", "count": 2 }]);
        assert_eq!(ranking, Ok(json!({ "words": words, "distinct": 4 })));
    }

    #[test]
    fn a_limit_of_nothing_is_refused_for_good() {
        let failure =
            top_words(TopWordsArgs { text: String::new(), limit: 0 }).expect_err("0 is out of range");
        assert_eq!((failure.code.as_str(), failure.retry), ("LIMIT_OUT_OF_RANGE", Retry::Never));
    }
}
