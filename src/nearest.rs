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

/// ` (there is: a, shop.b)`: tables, with their schema or without, that may have been meant; nothing where none is near.
pub(crate) fn there_is(found: &str, tables: &[String]) -> String {
    /// More would hide the one that was meant.
    const SHOWN: usize = 3;
    let name = |table: &str| table.rsplit('.').next().unwrap_or(table).to_lowercase();
    let found = name(found);
    let mut near: Vec<(usize, &str)> = tables
        .iter()
        .map(|table| (strsim::damerau_levenshtein(&found, &name(table)), table.as_str()))
        .filter(|(distance, table)| *distance <= 1 + name(table).chars().count() / 4)
        .collect();
    near.sort_unstable();
    let near: Vec<&str> = near.into_iter().take(SHOWN).map(|(_, table)| table).collect();
    if near.is_empty() { String::new() } else { format!(" (there is: {})", near.join(", ")) }
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
    fn tables_of_nearly_the_name_are_named() {
        let tables = ["shop.Orders", "public.order", "public.customers", "public.orders_2024"].map(str::to_owned);
        assert_eq!(there_is("orders", &tables), " (there is: shop.Orders, public.order)");
        assert_eq!(there_is("custmers", &tables), " (there is: public.customers)");
        assert_eq!(there_is("payments", &tables), "");
    }

    #[test]
    fn a_strange_name_is_escaped_and_cut() {
        let text = no_such_pipeline(&format!("\u{1b}[2J{}", "x".repeat(500)), ["orders"]);
        assert!(!text.contains('\u{1b}') && text.len() < 250, "{text}");
        assert!(text.ends_with("the config has orders"), "{text}");
    }
}
