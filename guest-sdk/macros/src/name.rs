//! The names that people choose: plugins, tasks and codes.

/// A plugin's or task's name: lower case, starting with a letter.
pub(crate) const NAME_RULE: &str =
    "a lower-case letter, then lower-case letters, digits and `_`; 60 characters at most";

/// An error code.
pub(crate) const CODE_RULE: &str =
    "an upper-case letter, then upper-case letters, digits and `_`; 64 characters at most";

pub(crate) fn is_name(text: &str) -> bool {
    follows(text, 60, |c| c.is_ascii_lowercase())
}

pub(crate) fn is_code(text: &str) -> bool {
    follows(text, 64, |c| c.is_ascii_uppercase())
}

fn follows(text: &str, characters_max: usize, letter: impl Fn(char) -> bool) -> bool {
    text.len() <= characters_max
        && text.starts_with(&letter)
        && text.chars().all(|c| letter(c) || c.is_ascii_digit() || c == '_')
}

/// `word_count` is `WordCount`.
pub(crate) fn camel_case(name: &str) -> String {
    let words = name.split('_').filter(|word| !word.is_empty());
    words
        .flat_map(|word| word[..1].to_uppercase().chars().chain(word[1..].chars()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_start_with_a_letter() {
        for good in ["a", "word_count", "v2", "a_", &"x".repeat(60)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "_a", "2a", "Word", "word-count", "wörd", &"x".repeat(61)] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(is_code("NOT_YET_2"));
        assert!(!is_code("not_yet"));
    }

    #[test]
    fn types_are_in_camel_case() {
        for (name, expected) in
            [("word_count", "WordCount"), ("noop", "Noop"), ("to_v2", "ToV2"), ("a__b_", "AB")]
        {
            assert_eq!(camel_case(name), expected);
        }
    }
}
