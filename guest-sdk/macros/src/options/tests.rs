//! Options as a table: what is written, what the host reads.

use std::str::FromStr;

use proc_macro2::TokenStream;

fn check(options: &str, expected: &str) {
    let options = TokenStream::from_str(options).expect("the test writes tokens");
    let policy = super::policy(options).unwrap_or_else(|error| panic!("{expected}: {error}"));
    assert_eq!(policy, expected);
}

fn refused(options: &str, expected: &str) {
    let tokens = TokenStream::from_str(options).expect("the test writes tokens");
    let error = super::policy(tokens).expect_err(options).to_string();
    assert!(error.contains(expected), "{options}: {error}");
}

#[test]
fn what_is_not_set_is_absent() {
    check("", "{}");
    check("retries = 0", r#"{"max_retries":0}"#);
    check("timeout = \"1m30s\",", r#"{"timeout_ms":90000}"#);
}

#[test]
fn every_option_has_its_field() {
    check(
        r#"retries = 3, backoff = exponential(base = "1s", max = "1m"), jitter = true, retry_on = ["A", "B_2"],
           timeout = "30s", cpu = "5s", memory = "64 MiB", redeliveries = 3, result_max = "1 MiB", keep_input = false"#,
        concat!(
            r#"{"max_retries":3,"backoff":{"kind":"exponential","base_ms":1000,"factor":2.0,"max_ms":60000},"#,
            r#""jitter":true,"retry_on":["A","B_2"],"timeout_ms":30000,"cpu_ms_max":5000,"#,
            r#""memory_bytes_max":67108864,"redeliveries":3,"result_bytes_max":1048576,"keep_input":false}"#
        ),
    );
    check(r#"backoff = fixed("1s", "5s")"#, r#"{"backoff":{"kind":"fixed","delays_ms":[1000,5000]}}"#);
    check(
        r#"backoff = exponential(base = "1s", factor = 3, max = "1s")"#,
        r#"{"backoff":{"kind":"exponential","base_ms":1000,"factor":3.0,"max_ms":1000}}"#,
    );
}

#[test]
fn bad_values_are_named() {
    refused("retries = 21", "`retries = 21` cannot be: allowed is a whole number from 0 to 20");
    refused("retries = \"3\"", "`retries = \"3\"` cannot be");
    refused("retries", "`retries` needs a value");
    refused("retry = 3", "there is no option `retry`; there are: retries, backoff");
    refused("jitter = 1", "`true` or `false`");
    refused("jitter = true, jitter = true", "`jitter` is set twice");
    refused("timeout = \"30\"", "`timeout = \"30\"` cannot be: allowed is whole numbers with");
    refused("timeout = \"0s\"", "from 1ms to 365d");
    refused(
        "memory = \"64 MB\"",
        "`memory = \"64 MB\"` cannot be: allowed is a whole number with `B`, `KiB`",
    );
    refused("memory = \"5 GiB\"", "from 1 B to 4 GiB");
    refused("retry_on = [\"lower\"]", "`retry_on = \"lower\"` cannot be");
    refused("retry_on = []", "a list of error codes");
    refused("backoff = linear(\"1s\")", "`fixed(");
    refused("backoff = fixed()", "1 to 20 delays");
    refused("backoff = exponential(base = \"1s\")", "both `base` and `max`");
    refused("backoff = exponential(base = \"2s\", max = \"1s\")", "`base` not above `max`");
    refused("backoff = exponential(base = \"1s\", factor = 0.5, max = \"1m\")", "`factor = 0.5` cannot be");
}

#[test]
fn at_most_once_has_no_retries() {
    check("redeliveries = 0", r#"{"redeliveries":0}"#);
    check("redeliveries = 0, retries = 0", r#"{"redeliveries":0,"max_retries":0}"#);
    refused(
        "redeliveries = 0, retries = 2",
        "`redeliveries = 0` cannot be: allowed is 1 to 20 with `retries = 2`",
    );
}
