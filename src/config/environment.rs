//! What the environment says: overrides `RABBIT_SINK__SECTION__KEY`, and `${NAME}` inside texts of the file.

use std::collections::{BTreeMap, HashMap};

use config::Source as _;
use toml::de::DeValue;

use super::keys::ROOT;
use super::problems::Problems;
use super::tree::{At, Entry, Node, Table, Value};

/// What overrides begin with, and what stands between their parts.
pub(super) const PREFIX: &str = "RABBIT_SINK";
const SEPARATOR: &str = "__";

/// Puts every override where it belongs. Their values are taken as they stand: `$` means nothing in
/// them, and digits stay text until a number is asked for.
pub(super) fn apply_overrides(root: &mut Table, environment: &[(String, String)], problems: &Problems) {
    let variables = variables(environment, problems);
    let source = config::Environment::with_prefix(PREFIX)
        .prefix_separator(SEPARATOR)
        .separator(SEPARATOR)
        .source(Some(environment.iter().cloned().collect::<HashMap<_, _>>()));
    let overrides = match source.collect() {
        Ok(overrides) => overrides,
        Err(error) => return problems.add(At::Whole, "", format!("can't read the environment: {error}"), None),
    };
    // A hash map has no order; errors should have one, and sections come before their keys this way.
    let overrides: BTreeMap<String, config::Value> = overrides.into_iter().collect();
    for (path, value) in overrides {
        let variable = variables.get(&path).cloned().unwrap_or_else(|| path.clone());
        match value.into_string() {
            Ok(text) => put(root, &path, &variable, text, problems),
            Err(error) => problems.add(At::Variable(variable), &path, error.to_string(), None),
        }
    }
}

/// The variables as they are spelled, by the path that they override.
fn variables(environment: &[(String, String)], problems: &Problems) -> BTreeMap<String, String> {
    let prefix = format!("{PREFIX}{SEPARATOR}").to_lowercase();
    let mut variables = BTreeMap::new();
    for (name, _) in environment {
        let Some(path) = name.to_lowercase().strip_prefix(&prefix).map(|rest| rest.replace(SEPARATOR, ".")) else {
            one_underscore(name, problems);
            continue;
        };
        match variables.get(&path) {
            Some(first) if first != name => {
                let message =
                    format!("`{first}` and `{name}` set the same key: upper and lower case mean the same here");
                problems.add(At::Variable(name.clone()), &path, message, None);
            }
            _ => {
                variables.insert(path, name.clone());
            }
        }
    }
    variables
}

/// Whether a variable is meant for another section than `[admin]`.
pub(super) fn overrides_elsewhere(name: &str) -> bool {
    let name = name.to_lowercase();
    name.starts_with(&PREFIX.to_lowercase())
        && name.contains(SEPARATOR)
        && !name.starts_with(&format!("{PREFIX}{SEPARATOR}admin{SEPARATOR}").to_lowercase())
}

/// `RABBIT_SINK_SECTION__KEY` would do nothing, in silence. Names without two underscores belong to others, such as those
/// that Kubernetes makes for a service.
fn one_underscore(name: &str, problems: &Problems) {
    let lower = name.to_lowercase();
    let Some(rest) = lower.strip_prefix(&format!("{}_", PREFIX.to_lowercase())) else { return };
    let Some((section, _)) = rest.split_once(SEPARATOR) else { return };
    if ROOT.get(section).is_some() {
        let meant = format!("{PREFIX}{SEPARATOR}{}", &name[PREFIX.len() + 1..]);
        let message = format!("sets nothing: two underscores stand behind {PREFIX}, too");
        problems.add(At::Variable(name.to_owned()), "", message, Some(format!("did you mean {meant}?")));
    }
}

fn put(root: &mut Table, path: &str, variable: &str, text: String, problems: &Problems) {
    let at = At::Variable(variable.to_owned());
    let parts: Vec<&str> = path.split('.').collect();
    if parts.iter().any(|part| part.is_empty()) {
        let message = "the name has an empty part: two underscores stand between section and key, none at the ends";
        return problems.add(at, path, message, None);
    }
    let Some((last, sections)) = parts.split_last() else { return };
    let mut table = root;
    for part in sections {
        let index = index_of(table, part, &at, || Value::Table(Table::EMPTY));
        match &mut table.entries[index].node.value {
            Value::Table(below) => table = below,
            _ => {
                let message = format!("`{part}` is a plain value elsewhere, so nothing can be set inside it");
                return problems.add(at, path, message, None);
            }
        }
    }
    let index = index_of(table, last, &at, || Value::Bool(false));
    table.entries[index].node = override_node(text, variable);
    table.entries[index].key_at = at;
}

/// The entry of this name, made if it isn't there. Names of columns keep their case in the file, while
/// the environment has lost it: the only one that differs in nothing else is meant.
fn index_of(table: &mut Table, part: &str, at: &At, make: impl Fn() -> Value) -> usize {
    if let Some(index) = table.entries.iter().position(|entry| entry.key == part) {
        return index;
    }
    let mut alike = (0..table.entries.len()).filter(|index| table.entries[*index].key.to_lowercase() == part);
    if let (Some(index), None) = (alike.next(), alike.next()) {
        return index;
    }
    let node = Node { value: make(), at: at.clone(), from_environment: true, parsed: None };
    table.entries.push(Entry { key: part.to_owned(), key_at: at.clone(), node });
    table.entries.len() - 1
}

fn override_node(text: String, variable: &str) -> Node {
    // Lists and tables can be given in TOML's own notation.
    let parsed = match text.trim_start().chars().next() {
        Some('[' | '{') => DeValue::parse(text.trim()).ok(),
        _ => None,
    };
    let parsed = parsed.map(|value| Box::new(Node::from_toml(value.get_ref(), value.span(), Some(variable))));
    Node { value: Value::Text(text), at: At::Variable(variable.to_owned()), from_environment: true, parsed }
}

/// Replaces `${NAME}` by the variable and `$$` by `$` in all texts of the file.
pub(super) fn substitute(root: &mut Table, environment: &[(String, String)], problems: &Problems) {
    for entry in &mut root.entries {
        substitute_in(&mut entry.node, &entry.key, environment, problems);
    }
}

fn substitute_in(node: &mut Node, path: &str, environment: &[(String, String)], problems: &Problems) {
    match &mut node.value {
        Value::Table(table) => {
            for entry in &mut table.entries {
                substitute_in(&mut entry.node, &super::problems::join(path, &entry.key), environment, problems);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                substitute_in(item, &format!("{path}[{index}]"), environment, problems);
            }
        }
        Value::Text(text) if matches!(node.at, At::File(_)) && text.contains('$') => {
            match substituted(text, environment) {
                Ok((replaced, from_environment)) => {
                    *text = replaced;
                    node.from_environment = from_environment;
                }
                Err((message, help)) => problems.add(node.at.clone(), path, message, Some(help)),
            }
        }
        _ => {}
    }
}

/// The text with its variables, and whether there were any; or what is wrong, and what helps.
fn substituted(text: &str, environment: &[(String, String)]) -> Result<(String, bool), (String, String)> {
    let plain = |message: &str| (message.to_owned(), "write `$$` for a plain `$`".to_owned());
    let (mut out, mut rest, mut found) = (String::with_capacity(text.len()), text, false);
    while let Some(start) = rest.find('$') {
        out.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let (name, after) = after.split_once('}').ok_or_else(|| plain("`${` has no closing `}`"))?;
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                let message = "between `${` and `}` stands the name of an environment variable: letters, digits, `_`";
                return Err(plain(message));
            }
            let unset = || {
                let message = format!("the environment variable `{name}` is not set");
                (message, format!("set it, as in: export {name}='…'; a plain `$` is written `$$`"))
            };
            let value = environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
            out.push_str(value.ok_or_else(unset)?);
            (rest, found) = (after, true);
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok((out, found))
}
