//! How a line with a mistake is shown, whatever is in it. (Whole reports: cases.rs.)

use crate::bad;

#[test]
fn lines_are_shown_whatever_is_in_them() {
    // Windows line ends, text over several lines, wide characters before the spot, a line too long to show.
    let said =
        bad("[worker]\r\nshutdown_timeout = 5\r\n[pipelines.a]\r\nqueue = \"q\"\r\ntable = \"t\"\r\n").to_string();
    assert!(said.contains("test.toml:2:20:") && said.contains(" 2 | shutdown_timeout = 5\n"), "{said:?}");

    let said = bad("[pipelines.a]\nqueue = \"q\"\ntable = \"t\"\nmode = \"\"\"one\ntwo\"\"\"\n").to_string();
    assert!(said.contains(" 4 | mode = \"\"\"one\n   |        ^^^^^^\n"), "{said}");

    let long = "x".repeat(5000);
    let said = bad(&format!("[pipelines.a]\nqueue = \"q\"\ntable = \"t\"\nmode = \"{long}\"\n")).to_string();
    assert!(said.lines().all(|line| line.chars().count() < 200), "{said}");
}

proptest::proptest! {
    /// Whatever the text is, there is an answer, and its report names a place inside of it.
    #[test]
    fn no_text_panics(text in "([a-z.\\[\\]=\"'#${}\\\\ \n\tü]|url|password|rabbitmq|database|pipelines){0,60}") {
        if let Err(errors) = rabbit_sink::config::load_str("x", &text, &[]) {
            for problem in errors.problems() {
                if let Some((line, _)) = problem.position {
                    proptest::prop_assert!(line <= text.split('\n').count());
                }
            }
            proptest::prop_assert!(!errors.to_string().is_empty());
        }
    }
}
