//! What an author is told who writes it wrong. `TRYBUILD=overwrite` writes the expectations anew.

#[test]
fn mistakes_are_told_where_they_are() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
