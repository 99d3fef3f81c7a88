//! What JSON takes in memory once it is parsed: far more than its text, and whoever sends it chooses how much.

/// A node of the tree that the fields of an object stand in.
const OBJECT: u64 = 640;
/// An array's first room, which is for four values.
const ARRAY: u64 = 144;
/// A value in room that doubled when the last place was taken.
const VALUE: u64 = 64;
/// A field's share of nodes that are half full.
const FIELD: u64 = 48;
/// An allocation of its own.
const STRING: u64 = 32;

/// At least what `serde_json::Value` takes for this text while it is read, in bytes. Reads once and takes no memory; text
/// that is no JSON has a weight too.
#[must_use]
pub fn weight(json: &[u8]) -> u64 {
    let (mut weight, mut in_string, mut escaped) = (json.len() as u64, false, false);
    for byte in json {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_string = false,
            (true, _) => {}
            (false, b'"') => {
                in_string = true;
                weight = weight.saturating_add(STRING);
            }
            (false, b'{') => weight = weight.saturating_add(OBJECT),
            (false, b'[') => weight = weight.saturating_add(ARRAY),
            (false, b',') => weight = weight.saturating_add(VALUE),
            (false, b':') => weight = weight.saturating_add(FIELD),
            _ => {}
        }
    }
    weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_parts_weigh_what_was_measured_for_them() {
        // Bytes for each of 100,000 in an array, with what the allocator adds (serde_json 1.0.154, 64 bits).
        for (part, measured) in [
            ("0", 63),
            ("\"abcdefgh\"", 84),
            ("[0]", 186),
            ("[[[[0]]]]", 618),
            ("{\"\":0}", 682),
            ("{\"x\":1,\"y\":2}", 746),
            ("{\"a\":{\"a\":{\"a\":{}}}}", 2_058),
            (
                "{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"j\":1,\"k\":1,\"l\":1}",
                2_442,
            ),
        ] {
            let weighs = weight(format!("{part},").as_bytes());
            assert!((measured..measured * 5 / 2).contains(&weighs), "{part}: {weighs}");
        }
    }

    #[test]
    fn what_stands_in_strings_is_text() {
        assert_eq!(weight(br#""{[,:\"{[,:\\""#), STRING + 14);
        assert_eq!(weight(br#""\\",{"#), STRING + 6 + VALUE + OBJECT);
    }
}
