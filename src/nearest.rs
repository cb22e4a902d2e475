//! The nearest known name to one that isn't known.

/// The known name that was most likely meant, if one is near enough to be a slip of the finger.
pub(crate) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(found, name), name))
        .filter(|&(distance, name)| distance <= 1 + name.chars().count() / 3)
        .min()
        .map(|(_, name)| name)
}

/// "there is no pipeline X", with the nearest name or all of them.
pub(crate) fn no_such_pipeline<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let found: String = found.chars().take(64).flat_map(char::escape_default).collect();
    match (nearest(&found, known.iter().copied()), known.is_empty()) {
        (Some(name), _) => format!("there is no pipeline \"{found}\"; did you mean \"{name}\"?"),
        (None, true) => format!("there is no pipeline \"{found}\"; the config has none"),
        (None, false) => format!("there is no pipeline \"{found}\"; the config has {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        assert_eq!(nearest("ordres", ["orders", "customers"]), Some("orders"));
        assert_eq!(nearest("payments", ["orders", "customers"]), None);
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn a_strange_name_is_escaped_and_cut() {
        let text = no_such_pipeline(&format!("\u{1b}[2J{}", "x".repeat(500)), ["orders"]);
        assert!(!text.contains('\u{1b}') && text.len() < 250, "{text}");
        assert!(text.ends_with("the config has orders"), "{text}");
    }
}
