//! What wrong declarations print: mistakes that the attribute finds, and those that the compiler finds in its proofs.

#[test]
fn mistakes_in_declarations() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
