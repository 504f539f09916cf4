//! What the compiler says: the usual mistakes do not compile, with a text that helps, and every shape of handler does.
//!
//! After a change of a text, look at the difference of `TRYBUILD=overwrite cargo test -p tidings --test compile_fail`.

#[test]
fn what_should_compile_does_and_the_usual_mistakes_do_not() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile/pass/*.rs");
    cases.compile_fail("tests/compile/fail/*.rs");
}
